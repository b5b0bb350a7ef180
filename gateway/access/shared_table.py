"""Counts of callers in memory that all processes of a server share, exact across them and after one was killed.

The process that forks the others makes the table, anonymous and without a name in any file system. Updates are guarded
by record locks (fcntl(2)), which the kernel lifts when their holder dies: no worker can leave the table locked. What is
at work is counted separately for each process, under a lock that it keeps while it lives; the counts of one that died
are emptied by the next process that finds that lock free.
"""

import contextlib
import errno
import fcntl
import hashlib
import mmap
import os
import secrets
import struct
import tempfile
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

ROWS = 1024
"""Callers counted at once; the row of an idle caller is reused."""
PROBES = 16
"""Rows that may belong to a caller, which bounds the search."""
PROCESSES = 128
"""Processes that share a table; gunicorn's workers, with those that are being replaced."""
HEADER_BYTES = 64
_SECRET = slice(HEADER_BYTES - 32, HEADER_BYTES)
"""Where the secret of the server is, behind the byte of ``first``."""
_ROW = struct.Struct("=16sdd")
_COUNTS = HEADER_BYTES + ROWS * _ROW.size
"""Where the counts begin, "=H" each; those of one process are adjacent, so that they are emptied at once."""
_SIZE = _COUNTS + PROCESSES * ROWS * 2
_TABLE_LOCK, _PROCESS_LOCKS = 0, HEADER_BYTES
_EMPTY = bytes(16)


@dataclass
class Row:
    """The row of one caller: ``tokens`` left in its bucket at ``stamp``, in seconds of the monotonic clock."""

    index: int
    name: bytes
    tokens: float
    stamp: float


class SharedTable:
    """The rows. Call every method but ``locked``, ``first`` and ``secret`` within ``locked``."""

    def __init__(self) -> None:
        self._file = _unnamed_file()
        weakref.finalize(self, os.close, self._file)
        os.ftruncate(self._file, _SIZE)
        self._map = mmap.mmap(self._file, _SIZE)
        self._counts = memoryview(self._map)[_COUNTS:].cast("H")
        self._map[_SECRET] = secrets.token_bytes(32)
        self._threads = threading.Lock()
        self._own: tuple[int, int] | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the table. A record lock belongs to the process, so its threads need another lock among themselves."""
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _TABLE_LOCK)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _TABLE_LOCK)

    def first(self) -> bool:
        """Return True to the first process that calls: it logs what should be logged once."""
        with self.locked():
            was, self._map[0] = self._map[0], 1
        return not was

    @property
    def secret(self) -> bytes:
        """Return 32 random bytes that the processes of this server share, and nobody else knows."""
        return bytes(self._map[_SECRET])

    def row(self, name: str, *, idle_before: float) -> Row | None:
        """Return the caller's row, or a new one with ``stamp`` 0; None where all its rows are in use.

        A row unused since ``idle_before`` and without requests in flight is free: its bucket is full again.
        """
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:16]
        start = int.from_bytes(digest[:4], "little")
        rows = [self._read((start + probe) % ROWS) for probe in range(PROBES)]
        for row in rows:
            if row.name == digest:
                return row
        for row in rows:
            if row.name == _EMPTY or (row.stamp < idle_before and not self.at_work(row, at_least=1)):
                return Row(row.index, digest, 0.0, 0.0)
        return None

    def write(self, row: Row) -> None:
        """Store a row."""
        _ROW.pack_into(self._map, _offset(row.index), row.name, row.tokens, row.stamp)

    def at_work(self, row: Row, *, at_least: int) -> bool:
        """Return True if the caller has at least that many requests in flight, over all live processes."""
        counts = self._counts[row.index :: ROWS]
        if sum(counts) < at_least:
            return False
        self._forget_the_dead([process for process, count in enumerate(counts) if count])
        return sum(counts) >= at_least

    def add(self, row: Row, change: int) -> None:
        """Change the number of the caller's requests in flight in this process."""
        self._counts[self._own_process() * ROWS + row.index] += change

    def _forget_the_dead(self, processes: list[int]) -> None:
        own = self._own_process()
        for process in processes:
            if process != own and self._take(process):
                self._empty(process)
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _PROCESS_LOCKS + process)

    def _read(self, index: int) -> Row:
        return Row(index, *_ROW.unpack_from(self._map, _offset(index)))

    def _own_process(self) -> int:
        if self._own is None or self._own[0] != os.getpid():  # a fork inherits no record locks
            process = next((process for process in range(PROCESSES) if self._take(process)), None)
            if process is None:
                raise RuntimeError(f"More than {PROCESSES} processes share one table of callers.")
            self._empty(process)
            self._own = (os.getpid(), process)
        return self._own[1]

    def _take(self, process: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _PROCESS_LOCKS + process)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True

    def _empty(self, process: int) -> None:
        start = _COUNTS + process * ROWS * 2
        self._map[start : start + ROWS * 2] = bytes(ROWS * 2)


def _offset(index: int) -> int:
    return HEADER_BYTES + index * _ROW.size


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("gateway-callers")
    with tempfile.TemporaryFile() as file:  # without memfd: a file that is unlinked from the start
        return os.dup(file.fileno())


class _Here:
    """The table of this process and of its forks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: SharedTable | None = None

    def __call__(self) -> SharedTable:
        with self._lock:
            self._table = self._table or SharedTable()
            return self._table


table = _Here()
"""The only table, created at the first call: in the master, if the server is the gateway's."""
