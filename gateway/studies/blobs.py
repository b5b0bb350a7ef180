"""Storage of bytes: the seam between a folder and a bucket, and files on their way into either."""

import errno
import fcntl
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from gateway.config import KiB
from gateway.errors import DigestMismatch
from gateway.spool.disk import on_disk, open_regular

STORE = "store"
"""The name of the store's folder in the log."""


def quarantine_label(study_instance_uid: str) -> str:
    """The sha256 of a Study Instance UID, in 64 hexadecimal digits."""
    return hashlib.sha256(study_instance_uid.encode()).hexdigest()


GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO)
"""The errors of ``open_regular`` for a file that is missing, or was replaced by something else."""


class Spoiled(Exception):
    """The bytes under a name are missing, or no longer those that were stored."""


class Blobs(Protocol):
    """Bytes under names. A name is 64 hexadecimal digits; a location is the keeper's own name for stored bytes.

    Each method raises StorageFull for a full disk, and Unavailable where the keeper cannot work now.
    """

    waits: bool
    """Whether to settle and to finish wait for a disk or a network."""

    def settle(self, incoming: "Incoming", name: str, *, late: bool = False) -> str:
        """Make bytes last, and return the location they will have; slow, and before the index is locked.

        With ``late``, ``finishing`` may do so, for it waits for the disk in any case.
        """

    def place(self, incoming: "Incoming", location: str, *, last: bool = True) -> None:
        """Put settled bytes where they belong; quick, and while the index is locked for writing.

        Unless it is the ``last`` of several, ``finishing`` follows.
        """

    def finishing(self, locations: Iterable[str], late: Iterable["Incoming"] = ()) -> list[Callable[[], None]]:
        """Return what makes the places of several last, and the bytes of those settled ``late``: calls that wait.

        They may run in threads, all at once.
        """

    def abandon(self, location: str) -> None:
        """Forget settled bytes that were not placed."""

    def open(self, location: str, sha256: str, size: int, *, unchanged: bool = False) -> BinaryIO:
        """The bytes as a file at its start, checked against size and digest, in use until it is closed.

        ``unchanged`` accepts bytes that were checked lately and have not changed since. Raises Spoiled.
        """

    def has(self, location: str, size: int) -> bool:
        """Return True unless the bytes are missing, or are fewer or more; cheap, and without their digest."""

    def remove(self, *locations: str, used_too: bool = False) -> bool:
        """Remove bytes while the index is locked for writing; false, and nothing done, where some of it is in use."""

    def quarantine(self, location: str, label: str) -> None:
        """Set bytes aside under a ``label``, out of reach of ``open``."""

    def purge(self, label: str) -> None:
        """Remove what was set aside under a ``label``."""

    def purge_older(self, moment: float) -> None:
        """Remove what came before ``moment``, in seconds since 1970, and was set aside."""

    def names(self) -> Iterator[tuple[str, float]]:
        """Every location, and when its bytes came, in seconds since 1970."""

    def close(self) -> None:
        """Let go of what is open."""


PIECE = 256 * KiB
"""Bytes that are read back at once to be hashed: they stay in the cache of a core."""


class Incoming:
    """A file that is being received: written and hashed. It has a name, which a lock keeps from being swept.

    Use as a context manager: what was not placed at the end is gone.
    """

    def __init__(self, folder: Path, *, hashed: bool = True) -> None:
        """A new file in ``folder``; one that is not ``hashed`` as it is written is hashed by ``hash_written``.

        Raises StorageFull, Unavailable.
        """
        with on_disk(STORE):
            self.path, self.descriptor = _new_file(folder)
        self._hash, self._hashed = hashlib.sha256(), hashed
        self._moved = False
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes. Raises StorageFull, Unavailable."""
        if self._hashed:
            self._hash.update(data)
        self.size += len(data)
        view = memoryview(data)
        with on_disk(STORE):
            while view:
                view = view[os.write(self.descriptor, view) :]

    def hash_written(self) -> None:
        """Hash the whole file, in a thread beside the one that receives the next. Raises Unavailable."""
        piece, at = bytearray(PIECE), 0
        with on_disk(STORE):
            while count := os.preadv(self.descriptor, [piece], at):
                self._hash.update(memoryview(piece)[:count])
                at += count

    @property
    def sha256(self) -> str:
        """The digest of what was written."""
        return self._hash.hexdigest()

    def check(self, size: int, sha256: str, number: int) -> None:
        """Raises DigestMismatch, with the ``number`` of the file, unless it has this size and digest."""
        if self.size != size or self.sha256 != sha256:
            what = "size" if self.size != size else "digest"
            raise DigestMismatch(
                f"File {number} has another {what} than its entry says; send it again.", instance=number
            )

    def reader(self) -> BinaryIO:
        """Return the written bytes as a file, at its start. Nothing more may be written."""
        file = io.FileIO(os.dup(self.descriptor))
        file.seek(0)
        return file

    def move(self, path: Path) -> None:
        """Rename the file to its place. Raises FileNotFoundError where there is no such folder."""
        self.path.replace(path)
        self._moved = True

    def discard(self) -> None:
        """Remove the file, unless it has been moved; once is enough. A file that cannot be removed is swept later."""
        if not self._moved:
            with suppress(OSError):
                self.path.unlink()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.discard()


def _new_file(folder: Path) -> tuple[Path, int]:
    """A file that is locked before anyone who sweeps can have taken it away."""
    while True:
        path = folder / secrets.token_hex(16)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)


def sweep_incoming(folder: Path) -> int:
    """Remove the files of dead processes, and return how many: a living process has a lock on each of its own."""
    return sum(unlink_unless_locked(path) for path in folder.iterdir() if path.is_symlink() or not path.is_dir())


def unlink_unless_locked(*paths: Path) -> bool:
    """Remove files that nobody has a lock on; false, and all of them stay, where somebody has one of them."""
    with ExitStack() as stack:
        for path in paths:
            try:  # for writing, since NFS gives an exclusive lock to no other (flock(2))
                descriptor = open_regular(path, os.O_RDWR | os.O_NOFOLLOW)
            except OSError as error:
                if error.errno not in GONE:
                    raise
                continue
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        unlink(*paths)
    return True


def unlink(*paths: Path) -> None:
    """Remove files, and folders that somebody put in their place; what is missing is removed already."""
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
