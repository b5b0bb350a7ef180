"""The file that holds the chain: all workers of a machine write to it, one at a time and under a lock.

A record is appended first and the head beside the file replaced afterwards. A writer that is killed in between leaves a
head that is one record behind, which the next writer takes up; one that is killed within a record leaves bytes that are
none, which the next writer leaves where they are and tells of in its own record. The lock goes with its holder.
"""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gateway.config import MiB
from gateway.observe.audit.canonical import sha256
from gateway.observe.audit.chain import HEAD_FILE_BYTES, ChainHead, HeadFile, Sealed, head_path, seal, unseal
from gateway.spool.disk import open_regular

logger = logging.getLogger("gateway")

LOCK_SECONDS, LOCK_PAUSE = 1.0, 0.0002
"""How long to wait for another worker, which holds the lock for some 50 microseconds unless it was stopped in it."""
LONGEST_TAIL = 1 * MiB
"""Bytes read back behind the head: a thousand records, where a killed writer leaves one."""


class ChainFile:
    """Appends to a chain. For one thread at a time; processes keep out of each other's way.

    ``path`` may be renamed while it is written to, as logrotate does: the chain goes on in a new file of that name.
    """

    def __init__(self, path: Path, key: bytes, *, fsync: bool = False) -> None:
        """``fsync`` waits for the disk at each record: what was told to be written survives a power cut."""
        self._path, self._head_path, self._key, self._fsync = path, head_path(path), key, fsync
        self._file = self._lock = self._pid = -1
        self._size = -1
        """Bytes of the file after our own last record; another size means that another worker wrote since."""
        self._head = ChainHead(0, "")

    def append(self, members: Mapping[str, Any]) -> Sealed:
        """Write one record; returns it in its place. Raises OSError, and ValueError where the file is another's."""
        with self._locked():
            marks, gap = self._catch_up()
            sealed = seal({**members, **marks}, self._head, self._key)
            data = gap + sealed.line + b"\n"
            before, self._size = self._size, -1  # until all is well
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._fsync:
                os.fdatasync(self._file)
            self._note(HeadFile(sealed.head, before + len(data)))
        return sealed

    def probe(self) -> None:
        """Raise what appending would raise for a file that cannot be opened or is not ours. Writes no record."""
        with self._locked():
            self._catch_up()
            self._size = -1  # what it found is for the next record to tell

    def close(self) -> None:
        """Close the files; the next record opens them again."""
        for descriptor in (self._file, self._lock):
            with suppress(OSError):
                os.close(descriptor)
        self._file = self._lock = self._size = -1

    def _note(self, noted: HeadFile) -> None:
        os.pwrite(self._lock, noted.written(self._key), 0)
        if self._fsync:
            os.fdatasync(self._lock)
        self._head, self._size = noted.head, noted.size

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, which lies on the head's file, since that one is never renamed."""
        self._take_lock()
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _take_lock(self) -> None:
        if self._pid != os.getpid():  # a fork shares its parent's locks, and so has none
            self.close()
            self._pid = os.getpid()
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            if self._lock == -1:
                self._lock = _open(self._head_path, os.O_RDWR)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same(self._lock, self._head_path):
                    return
                self.close()  # removed or replaced meanwhile: others lock the new one
            except BlockingIOError:
                time.sleep(LOCK_PAUSE)
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process holds the lock on the audit file")

    def _catch_up(self) -> tuple[dict[str, Any], bytes]:
        """Find the end of the chain; returns what the next record must tell, and what must be written before it."""
        if self._file == -1 or not _same(self._file, self._path):
            if self._file != -1:
                os.close(self._file)
                self._file = -1  # its number is another file's soon, also where this one cannot be opened again
            self._file, self._size = _open(self._path, os.O_RDWR | os.O_APPEND), -1
        size = os.fstat(self._file).st_size
        if size == self._size:
            return {}, b""
        noted = HeadFile.read(os.pread(self._lock, HEAD_FILE_BYTES + 1, 0), self._key)
        if noted is None and size == 0:
            noted = HeadFile(ChainHead.begin(), 0)
            self._note(noted)
        self._size = size
        return self._resume(noted, size)

    def _resume(self, noted: HeadFile | None, size: int) -> tuple[dict[str, Any], bytes]:
        if noted is not None and size <= noted.size:
            self._head = noted.head
            if 0 < size < noted.size:
                logger.warning("the audit file is shorter than it was; the chain goes on, and shows what is missing")
            return {}, b""
        start, head = (noted.size, noted.head) if noted else (0, None)
        if size - start > LONGEST_TAIL:
            start, head = size - LONGEST_TAIL, None
        tail = os.pread(self._file, size - start, start)
        end, rest = _follow(tail, head, self._key) if head else _last(tail, self._key)
        if end is None:
            raise ValueError("audit_file holds something else than a chain of this key.")
        self._head = end
        marks: dict[str, Any] = {} if head else {"headless": True}
        if rest:
            logger.warning("a writer of the audit was killed within a record; the next one tells of it")
            marks["torn"] = {"bytes": len(rest), "sha256": sha256(rest)}
        return marks, b"\n" if tail and not tail.endswith(b"\n") else b""


def _follow(tail: bytes, head: ChainHead, key: bytes) -> tuple[ChainHead, bytes]:
    """The head that ``tail`` leads to from ``head``, and the bytes behind it; a record may lack its line end alone."""
    while tail:
        line, _, behind = tail.partition(b"\n")
        try:
            sealed = unseal(line, key)
        except ValueError:
            break
        if sealed.prev != head.digest:
            break
        head, tail = sealed.head, behind
    return head, tail


def _last(tail: bytes, key: bytes) -> tuple[ChainHead | None, bytes]:
    """The head that the last record in ``tail`` makes, wherever it comes from, and the bytes behind it."""
    lines = [line + b"\n" for line in tail.split(b"\n")]
    lines[-1] = lines[-1].removesuffix(b"\n")
    for place in range(len(lines) - 1, -1, -1):
        try:
            return unseal(lines[place].removesuffix(b"\n"), key).head, b"".join(lines[place + 1 :])
        except ValueError:
            continue
    return None, tail


def _open(path: Path, flags: int) -> int:
    try:
        return open_regular(path, flags | os.O_CREAT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # a pipe that nobody reads would hold every request
        raise ValueError("audit_file should be a file, not a device or a pipe.") from error


def _same(descriptor: int, path: Path) -> bool:
    """Return True if the open file is still the one of that name."""
    try:
        named, opened = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
