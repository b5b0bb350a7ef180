"""Counts of callers in memory that all processes of a server share, exact across them and after one was killed.

The process that forks the others makes the table, anonymous and without a name in any file system. Updates are guarded
by record locks (fcntl(2)), which the kernel lifts when their holder dies: no worker can leave the table locked. What is
at work is counted apart for each process, in a column that its holder keeps locked while it lives; the column of one
that died is emptied by whoever finds its lock gone.
"""

import contextlib
import errno
import fcntl
import hashlib
import mmap
import os
import struct
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass

ROWS = 1024
"""Callers counted at once; one who has been idle for a while gives the row to another."""
PROBES = 16
"""Rows in which a caller may stand, so that none is searched for through them all."""
PROCESSES = 128
"""Processes that share a table; gunicorn's workers, with those that are being replaced."""
_ROW = struct.Struct("=16sdd")
_COUNT = struct.Struct("=H")
ROW_BYTES = _ROW.size + PROCESSES * _COUNT.size
HEADER_BYTES = 64
_TABLE_LOCK, _COLUMN_LOCKS = 0, HEADER_BYTES
_EMPTY = bytes(16)


@dataclass
class Row:
    """One caller's: ``tokens`` left in its bucket at ``stamp``, in seconds of the monotonic clock."""

    index: int
    name: bytes
    tokens: float
    stamp: float


class Table:
    """The rows. Everything but ``locked`` and ``first`` is called with the lock held."""

    def __init__(self) -> None:
        size = HEADER_BYTES + ROWS * ROW_BYTES
        self._file = _unnamed_file()
        os.ftruncate(self._file, size)
        self._map = mmap.mmap(self._file, size)
        self._threads = threading.Lock()
        self._column: tuple[int, int] | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the table: a record lock is the process's own, so that its threads need another among themselves."""
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _TABLE_LOCK)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _TABLE_LOCK)

    def first(self) -> bool:
        """True for the first process that asks; what is said once is said by that one."""
        with self.locked():
            was, self._map[0] = self._map[0], 1
        return not was

    def row(self, name: str, *, idle_before: float) -> Row | None:
        """The caller's row, or a fresh one with ``stamp`` 0; None when all it may have are in use.

        A row untouched since ``idle_before`` and without anything at work is free: its bucket is full again.
        """
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:16]
        start = int.from_bytes(digest[:4], "little")
        rows = [self._read((start + probe) % ROWS) for probe in range(PROBES)]
        found = next((row for row in rows if row.name == digest), None)
        if found is None:
            found = next((row for row in rows if self._is_free(row, idle_before)), None)
            if found is not None:
                found = Row(found.index, digest, 0.0, 0.0)
        return found

    def write(self, row: Row) -> None:
        """Keep a row."""
        _ROW.pack_into(self._map, _offset(row.index), row.name, row.tokens, row.stamp)

    def at_work(self, row: Row) -> int:
        """The caller's requests at work, in all processes."""
        start = _offset(row.index) + _ROW.size
        with memoryview(self._map) as view, view[start : start + PROCESSES * _COUNT.size].cast("H") as counts:
            return sum(counts)

    def add(self, row: Row, change: int) -> None:
        """One more of the caller's requests is at work in this process, or one less."""
        at = _offset(row.index) + _ROW.size + self._own_column() * _COUNT.size
        _COUNT.pack_into(self._map, at, _COUNT.unpack_from(self._map, at)[0] + change)

    def forget_the_dead(self) -> None:
        """Empty the columns of processes that are no more."""
        own = self._own_column()
        for column in range(PROCESSES):
            if column != own and self._take(column):
                self._empty(column)
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _COLUMN_LOCKS + column)

    def _is_free(self, row: Row, idle_before: float) -> bool:
        return row.name == _EMPTY or (row.stamp < idle_before and not self.at_work(row))

    def _read(self, index: int) -> Row:
        return Row(index, *_ROW.unpack_from(self._map, _offset(index)))

    def _own_column(self) -> int:
        if self._column is None or self._column[0] != os.getpid():  # a fork inherits no record locks
            column = next((column for column in range(PROCESSES) if self._take(column)), None)
            if column is None:
                raise RuntimeError(f"More than {PROCESSES} processes share one table of callers.")
            self._empty(column)
            self._column = (os.getpid(), column)
        return self._column[1]

    def _take(self, column: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _COLUMN_LOCKS + column)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True

    def _empty(self, column: int) -> None:
        for index in range(ROWS):
            _COUNT.pack_into(self._map, _offset(index) + _ROW.size + column * _COUNT.size, 0)


def _offset(index: int) -> int:
    return HEADER_BYTES + index * ROW_BYTES


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("gateway-callers")
    with tempfile.TemporaryFile() as file:  # where there is no memfd: unlinked from the start
        return os.dup(file.fileno())


class _Here:
    """The table of this process and of those that it forks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: Table | None = None

    def __call__(self) -> Table:
        with self._lock:
            self._table = self._table or Table()
            return self._table


table = _Here()
"""The one table, made when it is first asked for: by the process that forks, where that is ours."""
