"""The parts of a request while it is served: end to end, each stored once, in memory or in an anonymous file.

Small requests stay in memory. Above a threshold the bytes go to a file without a name (``O_TMPFILE``), so that nothing
of a patient is left behind when the process dies. Parts are views of it that behave as files.
"""

import contextlib
import io
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from gateway.spool.anonymous_files import PAGES, AnonymousFile, Buffer, NewFile
from gateway.spool.disk import on_disk

BUFFER = 8 << 10
"""Bytes that a part reads ahead, for the many small reads of a DICOM header; never more than the part has."""


class PartFile(io.BufferedReader):
    """A part as a read-only binary file; ``getvalue`` and ``getbuffer`` work as those of ``io.BytesIO``."""

    raw: "_Range"

    def getvalue(self) -> bytes:
        """All bytes of the part, as a copy; the position stays."""
        return bytes(self.raw.view())

    def getbuffer(self) -> memoryview:
        """All bytes of the part without a copy, read-only."""
        return self.raw.view()

    def __len__(self) -> int:
        return self.raw.length


class _Range(io.RawIOBase):
    """A stretch of a spool as a raw file: what memory and disk have in common."""

    file: AnonymousFile | None = None
    """Where it lies, if not in memory of this process alone."""
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
    def __init__(self, data: memoryview, start: int, length: int, file: AnonymousFile | None) -> None:
        super().__init__(start, length)
        self.file = file
        self._data = data[start : start + length]

    def view(self) -> memoryview:
        return self._data

    def _fill(self, target: memoryview, position: int) -> None:
        target[:] = self._data[position : position + len(target)]


class _FileRange(_Range):
    """Reads by ``pread``, so that what has been read does not stay mapped in the process."""

    file: AnonymousFile

    def __init__(self, file: AnonymousFile, start: int, length: int) -> None:
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


def shared_file(parts: Sequence[BinaryIO]) -> tuple[AnonymousFile | None, list[tuple[int, int]]]:
    """The file in which parts of one shared spool lie, and where each begins and how long it is, in bytes.

    None for no parts. Raises TypeError for parts of another kind.
    """
    ranges = [part.raw for part in parts if isinstance(part, PartFile)]
    files = {id(one.file): one.file for one in ranges if one.file is not None}
    if len(files) != bool(parts) or len(ranges) != len(parts):
        raise TypeError("the parts do not lie in one shared spool")
    return next(iter(files.values()), None), [(one.start, one.length) for one in ranges]


def attached(file: AnonymousFile | memoryview, ranges: Iterable[tuple[int, int]]) -> list[PartFile]:
    """The parts again, in another process: the twin of ``shared_file``. They may lie in memory there, read-only."""
    found: Iterator[_Range] = (
        _MemoryRange(file, start, length, None) if isinstance(file, memoryview) else _FileRange(file, start, length)
        for start, length in ranges
    )
    return [PartFile(part, min(BUFFER, part.length) or 1) for part in found]


def reopened(part: PartFile) -> PartFile:
    """Return a part once more, for another reader: its position is its own."""
    return attached(part.getbuffer(), [(0, len(part))])[0]


def gathered(parts: Sequence[PartFile]) -> tuple[AnonymousFile, list[tuple[int, int]]]:
    """Return one file in which parts lie, to be handed to another process: as ``shared_file``, or a copy in memory."""
    with contextlib.suppress(TypeError):
        file, ranges = shared_file(parts)
        if file is not None:
            return file, ranges
    copy, ends = AnonymousFile.in_memory(), [0]
    for part in parts:
        copy.write(part.getbuffer())
        ends.append(ends[-1] + len(part))
    return copy, [(start, end - start) for start, end in pairwise(ends)]


class Spool:
    """The contents of the parts of one request, in order, without their framing."""

    def __init__(
        self,
        *,
        threshold: int,
        folder: Path | None = None,
        expected: int | None = None,
        shared: NewFile | None = None,
    ) -> None:
        """Keep up to ``threshold`` bytes in memory, and use a file in ``folder`` for more.

        ``expected`` is how many bytes will be written at most, None where that is not known. ``shared`` makes the
        memory a file too, so that ``shared_file`` can hand the parts to another process.
        """
        room = threshold if expected is None else expected
        self._folder = folder
        self._threshold = threshold
        fits = room <= threshold
        self._file: AnonymousFile | None
        with on_disk("memory"):
            self._file, pages = shared(room) if shared is not None and fits else (None, None)
        self._shared_memory = self._file is not None
        self._memory = pages or _memory(0 if shared is not None or not fits else room)
        self._ends: list[int] = []
        self.size = 0

    @property
    def in_memory(self) -> bool:
        """Return True if the bytes lie in memory of this process alone."""
        return self._file is None

    @property
    def _mapped(self) -> bool:
        """True if the bytes lie in memory that is mapped here, of this process alone or shared."""
        return self._file is None or len(self._memory) > 0

    def write(self, data: Buffer) -> None:
        """Add bytes to the part being received. Raises StorageFull where the disk is full, Unavailable."""
        if self.size + len(data) <= len(self._memory):
            self._memory[self.size : self.size + len(data)] = data
        else:
            self._write_file(data)
        self.size += len(data)

    def end_part(self) -> None:
        """The bytes since the last end are one part."""
        self._ends.append(self.size)

    def since(self, start: int) -> Iterable[Buffer]:
        """Return the bytes written from ``start`` until now, to be read later and in any thread."""
        if self._mapped:
            return [memoryview(self._memory)[start : self.size]]
        assert self._file is not None  # not mapped
        return self._file.read(start, self.size)

    def parts(self) -> list[PartFile]:
        """The parts as files, in order. Writing is over."""
        if self._file is not None and self._mapped:
            os.ftruncate(self._file.descriptor, self.size)  # what it held for another request is not handed along
        ranges = (self._range(start, end - start) for start, end in pairwise([0, *self._ends]))
        return [PartFile(part, min(BUFFER, part.length) or 1) for part in ranges]

    def _range(self, start: int, length: int) -> _Range:
        if self._mapped:
            return _MemoryRange(memoryview(self._memory).toreadonly(), start, length, self._file)
        assert self._file is not None  # not mapped
        return _FileRange(self._file, start, length)

    def _write_file(self, data: Buffer) -> None:
        with on_disk("spool"):
            if self._mapped or (self._shared_memory and self.size + len(data) > self._threshold):
                self._move_to_disk()
            assert self._file is not None  # moved there
            self._file.write(data)

    def _move_to_disk(self) -> None:
        file = AnonymousFile.on_disk(self._folder)
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
