"""DICOM files as hostile bytes: opening, finding, reading a header, writing a dataset.

Whatever a DICOM library raises on broken bytes leaves here as ``errors.StudyRefused``, with a sentence that quotes
nothing from the file.
"""

import io
import os
import stat
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from gateway.errors import GatewayError, LimitExceeded, StudyRefused

Source = Path | BinaryIO
"""A file by its path, or an open, seekable binary file. A file is read from its start and left at its start."""

MAX_INFLATED_BYTES = 4 << 30
"""Bytes that a deflated dataset may unfold to: deflate packs zeros 1000 : 1, and pydicom inflates without a limit."""

_CHUNK = 1 << 20
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

    Raises NotAnInstance (no DICM at byte 128, a DICOMDIR), StudyRefused, LimitExceeded (``MAX_INFLATED_BYTES``).
    """
    file.seek(128)
    if file.read(4) != b"DICM":
        raise NotAnInstance("A file is not DICOM: it has no DICM at byte 128 (PS3.10 7.1).")
    with refusing("A DICOM header is broken and cannot be read."):
        _refuse_inflation(file)
        file.seek(0)
        header = dcmread(file, stop_before_pixels=True)
        if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            raise NotAnInstance("A file is a DICOMDIR, which holds no image.")
    if _is_cut_off(header):
        raise StudyRefused("A DICOM file is cut off within its header.")
    return header


def _is_cut_off(header: Dataset) -> bool:
    """Return True if the file ended before its first attribute, or within a value; pydicom does not report it."""
    raw = [element for element in header.values() if isinstance(element, RawDataElement)]
    return not len(header) or any(len(one.value or b"") < one.length for one in raw if one.length != _UNDEFINED)


def _refuse_inflation(file: BinaryIO) -> None:
    """Inflate a deflated dataset (PS3.5 A.5) once for its size alone."""
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    data = file.read(_CHUNK)
    while data and not inflater.eof:
        size += len(inflater.decompress(data, _CHUNK))
        if size > MAX_INFLATED_BYTES:
            raise LimitExceeded("MAX_INFLATED_BYTES", MAX_INFLATED_BYTES, what="A deflated dataset")
        data = inflater.unconsumed_tail or file.read(_CHUNK)


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
