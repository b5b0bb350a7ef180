"""Where a request's bytes lie while it is served: end to end, each held once, in memory or in an unnamed file.

Small requests stay in memory. Above a threshold the bytes go to a file without a name (``O_TMPFILE``), so that nothing
of a patient is left behind when the process dies. Parts are views of it that behave as files.
"""

import contextlib
import errno
import io
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Self

from gateway.errors import StorageFull

Buffer = bytes | bytearray | memoryview
BUFFER = 8 << 10
"""Bytes that a part reads ahead, for the many small reads of a DICOM header; never more than the part has."""
READ_SIZE = 128 << 10
"""Bytes read back from a file at once: few enough for the heap, since fresh pages cost more than the copy into them."""
PAGES = 1 << 20
"""Bytes from which memory is asked of the system, in huge pages: to fill small ones costs five times the copy."""


class PartFile(io.BufferedReader):
    """One part as a read-only binary file; ``getvalue`` and ``getbuffer`` work as those of ``io.BytesIO``."""

    raw: "_Range"

    def getvalue(self) -> bytes:
        """All bytes of the part, as a copy; the position stays."""
        return bytes(self.raw.view())

    def getbuffer(self) -> memoryview:
        """All bytes of the part without a copy, read-only."""
        return self.raw.view()

    def __len__(self) -> int:
        return self.raw.length


class UnnamedFile:
    """A file without a name, on disk or in memory; it is gone when the last who refers to it is, in any process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def on_disk(cls, folder: Path | None) -> Self:
        """A temporary file in ``folder``. Raises OSError."""
        with tempfile.TemporaryFile(buffering=0, dir=folder) as file:
            return cls(os.dup(file.fileno()))

    @classmethod
    def in_memory(cls) -> Self:
        """A file that is memory, and can be handed to another process (memfd_create(2))."""
        return cls(os.memfd_create("gateway", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))

    def write(self, data: Buffer) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]

    def read(self, start: int, stop: int) -> Iterator[Buffer]:
        """The bytes of a stretch in pieces, each of them valid until the next is asked for."""
        buffer = memoryview(bytearray(min(READ_SIZE, stop - start)))
        while start < stop:
            piece = buffer[: min(len(buffer), stop - start)]
            self.read_into(piece, start)
            yield piece
            start += len(piece)

    def read_into(self, target: memoryview, start: int) -> None:
        """Fill ``target`` with the bytes from ``start`` on."""
        while target:
            count = os.preadv(self.descriptor, [target], start)
            if not count:
                raise EOFError("the spool is shorter than its parts")
            target, start = target[count:], start + count

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class _Range(io.RawIOBase):
    """A stretch of a spool as a raw file: what memory and disk have in common."""

    name = None
    """pydicom asks a buffered file for its name; a part has none, as a BytesIO has none."""

    def __init__(self, start: int, length: int) -> None:
        self.start, self.length, self._position = start, length, 0

    def view(self) -> memoryview:
        """The whole stretch, without a copy."""
        raise NotImplementedError

    def _fill(self, target: memoryview, position: int) -> None:
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, target: object) -> int:
        view = memoryview(target).cast("B")  # type: ignore[arg-type]
        count = max(0, min(len(view), self.length - self._position))
        self._fill(view[:count], self._position)
        self._position += count
        return count


class _MemoryRange(_Range):
    def __init__(self, data: memoryview, start: int, length: int) -> None:
        super().__init__(start, length)
        self._data = data[start : start + length]

    def view(self) -> memoryview:
        return self._data

    def _fill(self, target: memoryview, position: int) -> None:
        target[:] = self._data[position : position + len(target)]


class _FileRange(_Range):
    """Reads by ``pread``, so that what has been read does not stay mapped in the process."""

    def __init__(self, file: UnnamedFile, start: int, length: int) -> None:
        super().__init__(start, length)
        self.file = file

    def view(self) -> memoryview:
        if not self.length:
            return memoryview(b"")
        aligned = self.start - self.start % mmap.ALLOCATIONGRANULARITY
        skip = self.start - aligned
        pages = mmap.mmap(self.file.descriptor, skip + self.length, offset=aligned, access=mmap.ACCESS_READ)
        return memoryview(pages)[skip : skip + self.length]

    def _fill(self, target: memoryview, position: int) -> None:
        self.file.read_into(target, self.start + position)


def shared_file(parts: Sequence[BinaryIO]) -> tuple[UnnamedFile | None, list[tuple[int, int]]]:
    """The file in which parts of one shared spool lie, and where each begins and how long it is, in bytes.

    None for no parts. Raises TypeError for parts of another kind.
    """
    ranges = [part.raw for part in parts if isinstance(part, PartFile)]
    files = {id(one.file): one.file for one in ranges if isinstance(one, _FileRange)}
    if len(files) != bool(parts) or len(ranges) != len(parts):
        raise TypeError("the parts do not lie in one shared spool")
    return next(iter(files.values()), None), [(one.start, one.length) for one in ranges]


def attached(file: UnnamedFile, ranges: Iterable[tuple[int, int]]) -> list[PartFile]:
    """The parts again, in another process: the twin of ``shared_file``."""
    found = (_FileRange(file, start, length) for start, length in ranges)
    return [PartFile(part, min(BUFFER, part.length) or 1) for part in found]


class Spool:
    """The contents of the parts of one request, in order, without their framing."""

    def __init__(
        self, *, threshold: int, folder: Path | None = None, expected: int | None = None, shared: bool = False
    ) -> None:
        """Keep up to ``threshold`` bytes in memory, and use a file in ``folder`` for more.

        ``expected`` is how many bytes will be written at most, None where that is not known. ``shared`` memory is a
        file too, so that ``shared_file`` can hand the parts to another process.
        """
        room = threshold if expected is None else expected
        self._room = room if room <= threshold and not shared else 0
        self._folder = folder
        self._threshold = threshold
        self._shared_memory = shared and room <= threshold
        self._file = UnnamedFile.in_memory() if self._shared_memory else None
        self._memory = _memory(self._room)
        self._ends: list[int] = []
        self.size = 0

    @property
    def in_memory(self) -> bool:
        """Whether the bytes lie in memory of this process alone."""
        return self._file is None

    def write(self, data: Buffer) -> None:
        """Add bytes to the part being received. Raises StorageFull when the spool folder has no room."""
        if self._file is None and self.size + len(data) <= self._room:
            self._memory[self.size : self.size + len(data)] = data
        else:
            self._write_file(data)
        self.size += len(data)

    def end_part(self) -> None:
        """The bytes since the last end are one part."""
        self._ends.append(self.size)

    def since(self, start: int) -> Iterable[Buffer]:
        """What was written from ``start`` until now, to be taken later and in any thread."""
        if self._file is None:
            return [memoryview(self._memory)[start : self.size]]
        return self._file.read(start, self.size)

    def parts(self) -> list[PartFile]:
        """The parts as files, in order. Writing is over."""
        ranges = (self._range(start, end - start) for start, end in pairwise([0, *self._ends]))
        return [PartFile(part, min(BUFFER, part.length) or 1) for part in ranges]

    def _range(self, start: int, length: int) -> _Range:
        if self._file is None:
            return _MemoryRange(memoryview(self._memory).toreadonly(), start, length)
        return _FileRange(self._file, start, length)

    def _write_file(self, data: Buffer) -> None:
        try:
            if self._file is None or (self._shared_memory and self.size + len(data) > self._threshold):
                self._move_to_disk()
            assert self._file is not None  # moved there
            self._file.write(data)
        except OSError as error:
            raise _storage_full(error) from error

    def _move_to_disk(self) -> None:
        file = UnnamedFile.on_disk(self._folder)
        for piece in self.since(0):
            file.write(piece)
        self._file, self._memory, self._shared_memory = file, _memory(0), False


def _memory(size: int) -> bytearray | mmap.mmap:
    """Memory of a fixed size; a large one costs nothing before it is written to, and is given back at once."""
    if size < PAGES:
        return bytearray(size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(AttributeError, OSError):  # not Linux, or a kernel without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _storage_full(error: OSError) -> StorageFull:
    reason = errno.errorcode.get(error.errno or 0, "unknown")
    return StorageFull("The gateway has no room to receive this study; try again later.", private=f"spool: {reason}")
