"""Files without a name, on disk or in memory, and memory of theirs that is kept from one request for the next.

To fill new pages of memory that two processes share costs several times the copy into them, since the kernel hands
them out one by one; those of a request that is over are there already.
"""

import contextlib
import fcntl
import mmap
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

Buffer = bytes | bytearray | memoryview
READ_SIZE = 128 << 10
"""Bytes read back from a file at once: few enough for the heap, since fresh pages cost more than the copy into them."""
PAGES = 1 << 20
"""Bytes from which it pays to look after pages; below, a request costs more than all of its pages."""
IDLE_SECONDS = 10.0
"""How long memory that no request asked for is kept; a viewer's or a script's next study comes sooner."""
MADV_POPULATE_WRITE = 23
"""madvise(2), Linux 5.14: map all pages in one call, rather than each with a fault of its own."""


class AnonymousFile:
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

    def opened_again(self) -> Self:
        """The same file, opened a second time, as no duplicate of a descriptor is. Raises OSError."""
        return type(self)(os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDWR | os.O_CLOEXEC))

    def is_mine_alone(self) -> bool:
        """Return True if no other descriptor or mapping of it exists in any process, or in a message under way.

        The kernel grants a write lease only then (fcntl(2), F_SETLEASE); it is given back at once. Where there are no
        leases the answer is no.
        """
        try:
            fcntl.fcntl(self.descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            fcntl.fcntl(self.descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:
            return False
        return True

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


SharedFile = tuple[AnonymousFile, mmap.mmap | None]
"""A file for one request, and its bytes as memory where they are to be written there."""
NewFile = Callable[[int], SharedFile]
"""Makes one for so many bytes, that another process can read."""


@dataclass(eq=False)
class _PooledFile:
    file: AnonymousFile
    memory: mmap.mmap | None = None
    size: int = 0
    used: float = 0.0

    def is_free(self) -> bool:
        """Return True if no process uses it."""
        if not self.file.is_mine_alone():
            return False
        try:
            if self.memory is not None:
                self.memory.resize(len(self.memory))
        except BufferError:  # somebody in this process has a view of it
            return False
        return True

    def take(self, size: int) -> None:
        """Make it so large, mapped where it has pages: its user writes to these; new ones cost less by write(2)."""
        self.size, self.used = size, time.monotonic()
        if self.memory is not None:
            self.memory.resize(size)
        elif filled := os.fstat(self.file.descriptor).st_size:
            os.ftruncate(self.file.descriptor, size)
            self.memory = mmap.mmap(self.file.descriptor, size)
            with contextlib.suppress(OSError):  # an older kernel: they are mapped as they are written to
                self.memory.madvise(MADV_POPULATE_WRITE, 0, min(filled, size))


class MemoryPool:
    """Memory for requests, of which up to ``limit`` bytes outlive theirs for a while, to serve another."""

    def __init__(self, limit: int, idle: float = IDLE_SECONDS) -> None:
        self._limit = limit
        self._idle = idle
        self._lock = threading.Lock()
        self._files: list[_PooledFile] = []
        """Those of the latest requests, in use or not, the latest last: each opened by us, and by its user again."""
        self._timer: threading.Timer | None = None

    def file(self, size: int) -> SharedFile:
        """A file in memory for ``size`` bytes that nobody else refers to, mapped where it has pages already."""
        if not PAGES <= size <= self._limit:
            return AnonymousFile.in_memory(), None
        with self._lock, contextlib.suppress(OSError):  # without /proc, or room for a mapping, nothing is kept
            pooled = self._fitting(size) or _PooledFile(AnonymousFile.in_memory().opened_again())
            pooled.take(size)
            self._keep(pooled)
            return pooled.file.opened_again(), pooled.memory
        return AnonymousFile.in_memory(), None

    def _fitting(self, size: int) -> _PooledFile | None:
        """A free file of about this size, so that a small request does not waste a large one."""
        fitting = (one for one in reversed(self._files) if one.size <= 2 * size <= 4 * one.size)
        return next((one for one in fitting if one.is_free()), None)

    def _keep(self, pooled: _PooledFile) -> None:
        self._files = [*(one for one in self._files if one is not pooled), pooled]
        while sum(one.size for one in self._files) > self._limit:
            del self._files[0]
        if self._timer is None:
            self._later()

    def _later(self) -> None:
        self._timer = threading.Timer(self._idle, self._give_back)
        self._timer.daemon = True
        self._timer.start()

    def _give_back(self) -> None:
        """Let go of what has been idle."""
        with self._lock:
            self._timer = None
            late = time.monotonic() - self._idle
            self._files = [pooled for pooled in self._files if pooled.used > late]
            if self._files:
                self._later()

    def close(self) -> None:
        """Let go of all."""
        with self._lock:
            self._files.clear()
            if self._timer is not None:
                self._timer.cancel()
