"""Archives of files in the form of tar (POSIX.1-2001), with their length known before a byte is read."""

import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

PIECE = 1 << 20
MODE = 0o644


class Opener(Protocol):
    """Opens the content of an archived file at its start."""

    def __call__(self) -> BinaryIO:
        """Return the open file."""


@dataclass(frozen=True)
class ArchivedFile:
    """A file of an archive: its name there, its bytes, and its time in seconds since 1970."""

    name: str
    size: int
    stored_at: float
    open: Opener

    @property
    def header(self) -> bytes:
        """The blocks before its content."""
        entry = tarfile.TarInfo(self.name)
        entry.size, entry.mtime, entry.mode = self.size, int(self.stored_at), MODE
        return entry.tobuf(tarfile.PAX_FORMAT)


def archive_size(files: Iterable[ArchivedFile]) -> int:
    """Return the bytes of an archive."""
    return sum(len(each.header) + each.size + _padding(each.size) for each in files) + 2 * tarfile.BLOCKSIZE


def archive(files: Sequence[ArchivedFile]) -> Iterator[bytes]:
    """Yield the bytes of an archive; each file is opened when it is its turn."""
    for each in files:
        yield each.header
        with each.open() as file:
            while piece := file.read(PIECE):
                yield piece
        yield bytes(_padding(each.size))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE
