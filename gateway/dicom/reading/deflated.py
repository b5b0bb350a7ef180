"""Deflated datasets (PS3.5 A.5): inflated as far as they are read, and never all at once."""

import io
import zlib
from typing import BinaryIO

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from gateway.contract.requests import stop_if_cancelled
from gateway.dicom.reading.elements import PIXELS
from gateway.errors import LimitExceeded

MAX_INFLATED_BYTES = 4 << 30
"""Bytes of a deflated dataset that are inflated: deflate packs zeros 1000 : 1."""

MAX_INFLATED_HEADER_BYTES = 64 << 20
"""Bytes of it before its pixels: functional groups of 10,000 frames take half."""

_CHUNK = 1 << 20
_BUFFER = 64 << 10


class InflatedFile(io.BufferedReader):
    """A deflated Part 10 file whose dataset reads as if it were not; its meta information still says that it is.

    It holds no more than a buffer. Reading forward costs what is skipped, reading backward begins again.
    """

    raw: "_Inflating"

    def __init__(self, file: BinaryIO, start: int) -> None:
        """``start`` is the byte after the meta information."""
        super().__init__(_Inflating(file, start), _BUFFER)

    def limit(self, name: str, count: int) -> None:
        """Let no more than ``count`` bytes be inflated from now on, by the limit of this ``name``."""
        self.raw.limit = name, count


class _Inflating(io.RawIOBase):
    name = None
    """pydicom asks a buffered file for its name."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start
        file.seek(0)
        self._head = file.read(start)
        self.limit = "MAX_INFLATED_BYTES", MAX_INFLATED_BYTES
        self._rewind()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of a deflated file is not known")
        target = offset + (self._at if whence == io.SEEK_CUR else 0)
        if target < self._at:
            self._rewind()
        while self._at < target and self._next(target - self._at):
            pass
        return self._at

    def readinto(self, target: object) -> int:
        view = memoryview(target).cast("B")  # type: ignore[arg-type]
        piece = self._next(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def _rewind(self) -> None:
        self._at = 0
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._file.seek(self._start)

    def _next(self, size: int) -> bytes:
        """At most ``size`` of the next bytes; b"" at the end."""
        piece = self._head[self._at : self._at + size] or self._inflated(min(size, _CHUNK))
        self._at += len(piece)
        name, most = self.limit
        if self._at - self._start > most:
            raise LimitExceeded(name, most, what="A deflated dataset")
        return piece

    def _inflated(self, size: int) -> bytes:
        stop_if_cancelled()
        while not self._inflater.eof:
            data = self._inflater.unconsumed_tail or self._file.read(_CHUNK)
            if piece := self._inflater.decompress(data, size):
                return piece
            if not data:
                raise zlib.error("the data end before the stream")
        return b""


def inflated(file: BinaryIO) -> BinaryIO:
    """``file`` itself where it is not deflated, else its twin; at their start."""
    if isinstance(file, InflatedFile):
        file.seek(0)
        return file
    file.seek(132)
    meta = read_meta(file)
    start = file.tell()
    file.seek(0)
    return InflatedFile(file, start) if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian else file


def read_meta(file: BinaryIO) -> FileMetaDataset:
    """The file meta information of a file that stands before it (PS3.10 7.1)."""
    return FileMetaDataset(read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2))


def read_inflated(twin: BinaryIO, *, stop_before_pixels: bool = False) -> Dataset:
    """The dataset of a twin as ``dcmread`` gives that of the deflated file."""
    twin.seek(132)
    meta = read_meta(twin)
    dataset = read_dataset(twin, False, True, stop_when=_at_pixels if stop_before_pixels else None)
    dataset.file_meta = meta
    return dataset


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag in PIXELS
