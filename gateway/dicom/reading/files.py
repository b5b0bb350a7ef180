"""DICOM files as hostile bytes: opening, finding, reading a header, writing a dataset.

Whatever a DICOM library raises on broken bytes leaves here as ``errors.StudyRefused``, with a sentence that quotes
nothing from the file.
"""

import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from gateway.dicom.reading import header_faults
from gateway.dicom.reading.deflated import (
    MAX_INFLATED_BYTES,
    MAX_INFLATED_HEADER_BYTES,
    InflatedFile,
    inflated,
    read_inflated,
)
from gateway.dicom.reading.watched_file import WatchedFile
from gateway.errors import GatewayError, StudyRefused

Source = Path | BinaryIO
"""A file by its path, or an open, seekable binary file. A file is read from its start and left at its start."""

_UNDEFINED = 0xFFFFFFFF


class NotAnInstance(StudyRefused):
    """No DICOM instance at all (another format, a DICOMDIR), as opposed to a broken one."""


@contextmanager
def refusing(sentence: str) -> Iterator[None]:
    """Turn whatever is raised inside into StudyRefused with this ``sentence``; the gateway's own errors pass."""
    # pydicom's warnings quote attribute values. catch_warnings is not safe among threads, a standing filter is.
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    try:
        yield
    except GatewayError:
        raise
    except Exception as error:
        raise StudyRefused(sentence, private=type(error).__name__) from error


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """A binary file at its start. A path is opened and closed; a given file is left open, at its start."""
    if isinstance(source, Path):
        with ExitStack() as stack:
            with refusing("A file of the study cannot be opened."):
                file = stack.enter_context(open(source, "rb", opener=_open_regular))
            yield file
        return
    source.seek(0)
    try:
        yield source
    finally:
        source.seek(0)


def _open_regular(path: str, flags: int) -> int:
    """Open a regular file only: a pipe would wait for ever, a device has no end."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAnInstance("A path of the study is not a regular file.")
    return descriptor


def find_files(path: Path, on_skip: Callable[[Path, str], None] = lambda path, why: None) -> Iterator[Path]:
    """``path`` itself, or every regular file below it, folder by folder in name order.

    Links to files are followed, links to folders are not (they may go round). ``on_skip(path, why)`` is told of a
    DICOMDIR, of pipes, sockets and devices, and of folders that cannot be listed.
    """
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=lambda e: on_skip(Path(e.filename), "cannot be listed")):
        folders.sort()
        for file in (Path(folder, name) for name in sorted(names)):
            if file.name.upper() == "DICOMDIR":
                on_skip(file, "a DICOMDIR")
            elif not file.is_file():
                on_skip(file, "not a regular file")
            else:
                yield file


def read_header(file: BinaryIO) -> Dataset:
    """Read a Part 10 file up to its pixels.

    Raises NotAnInstance (no DICM at byte 128, a DICOMDIR), StudyRefused, LimitExceeded (``MAX_HEADER_READS``,
    ``MAX_INFLATED_HEADER_BYTES``, ``max_decoded_bytes``), Cancelled.
    """
    file.seek(128)
    if file.read(4) != b"DICM":
        raise NotAnInstance("A file is not DICOM: it has no DICM at byte 128 (PS3.10 7.1).")
    with _explaining(file):
        watched = WatchedFile(inflated(file))
        try:
            header = watched.header()
        finally:
            watched.judge()
        if _is_dicomdir(header.file_meta):
            raise NotAnInstance("A file is a DICOMDIR, which holds no image.")
        if _is_cut_off(header):
            raise EOFError
    return header


@contextmanager
def _explaining(file: BinaryIO) -> Iterator[None]:
    """Turn whatever is raised inside into StudyRefused, with the fault of the header; the gateway's own errors pass."""
    with refusing("A DICOM header is broken and cannot be read."):
        try:
            yield
        except GatewayError:
            raise
        except Exception as error:
            fault = header_faults.explain(file)
            raise StudyRefused(f"A DICOM file {fault}. Export it again.", private=fault) from error


def _is_dicomdir(meta: Dataset) -> bool:
    """Return True for a DICOMDIR. The bytes of the value are compared: a broken VR of it must not hide the pixels."""
    element: Any = meta.get_item("MediaStorageSOPClassUID")
    value = element.value if element is not None else None
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text.rstrip("\0 ") == MediaStorageDirectoryStorage


def _is_cut_off(header: Dataset) -> bool:
    """Return True if the file ended before its first attribute, or within a value; pydicom does not report it."""
    raw = [element for element in header.values() if isinstance(element, RawDataElement)]
    return not len(header) or any(len(one.value or b"") < one.length for one in raw if one.length != _UNDEFINED)


def read_whole(file: BinaryIO, pixels: int = MAX_INFLATED_BYTES) -> Dataset:
    """Read a Part 10 file with its pixels, of which a deflated one may hold ``pixels`` bytes. Raises LimitExceeded."""
    file = inflated(file)
    if not isinstance(file, InflatedFile):
        return dcmread(file)
    file.limit("MAX_INFLATED_BYTES", min(MAX_INFLATED_BYTES, MAX_INFLATED_HEADER_BYTES + pixels))
    return read_inflated(file)


def convert_dataset_to_bytes(dataset: Dataset) -> bytes:
    """A dataset as a Part 10 file (PS3.10 7.1), its preamble zero; the dataset itself is not changed.

    Without file meta information, the encoding it was read in is kept, else it is Explicit VR Little Endian.
    """
    written = copy(dataset)
    written.preamble = bytes(128)
    written.file_meta = copy(getattr(dataset, "file_meta", None)) or FileMetaDataset()
    if "TransferSyntaxUID" not in written.file_meta:
        written.file_meta.TransferSyntaxUID = _native_syntax(dataset)
    buffer = io.BytesIO()
    dcmwrite(buffer, written, enforce_file_format=True)
    return buffer.getvalue()


def _native_syntax(dataset: Dataset) -> str:
    implicit, little = dataset.original_encoding
    if little is False:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
