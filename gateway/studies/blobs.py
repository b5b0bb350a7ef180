"""Storage of bytes: the seam between a folder and a bucket, and files on their way into either."""

import errno
import fcntl
import hashlib
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from gateway.errors import DigestMismatch, StorageFull


def quarantine_label(study_instance_uid: str) -> str:
    """The sha256 of a Study Instance UID, in 64 hexadecimal digits."""
    return hashlib.sha256(study_instance_uid.encode()).hexdigest()


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Spoiled(Exception):
    """The bytes under a name are missing, or no longer those that were stored."""


class Blobs(Protocol):
    """Bytes under names. A name is 64 hexadecimal digits; a location is how this keeper calls what it keeps."""

    def settle(self, incoming: "Incoming", name: str) -> str:
        """Make bytes last, and give the location they will have; slow, and before the index is locked."""

    def place(self, incoming: "Incoming", location: str) -> None:
        """Put settled bytes where they belong; quick, and while the index is locked for writing."""

    def abandon(self, location: str) -> None:
        """Forget settled bytes that were not placed."""

    def open(self, location: str, sha256: str) -> BinaryIO:
        """The bytes as a file at its start, checked against their digest, in use until it is closed. Raises Spoiled."""

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


class Incoming:
    """A file that is being received: written and hashed. It has a name, which a lock keeps from being swept.

    Use as a context manager: what was not placed at the end is gone.
    """

    def __init__(self, folder: Path) -> None:
        """A new file in ``folder``. Raises StorageFull."""
        with full_disk():
            self.path, self.descriptor = _new_file(folder)
        self._hash = hashlib.sha256()
        self._moved = False
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes. Raises StorageFull."""
        self._hash.update(data)
        self.size += len(data)
        view = memoryview(data)
        with full_disk():
            while view:
                view = view[os.write(self.descriptor, view) :]

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
        """Rename the file to where it is kept. Raises FileNotFoundError where there is no such folder."""
        self.path.replace(path)
        self._moved = True

    def discard(self) -> None:
        """Remove the file, unless it has been moved; once is enough."""
        if not self._moved:
            self.path.unlink(missing_ok=True)
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
    """Remove the files of processes that are no more, and tell how many: what lives holds a lock."""
    swept = 0
    for path in folder.iterdir():
        swept += unlink_unless_locked(path)
    return swept


def unlink_unless_locked(*paths: Path) -> bool:
    """Remove files that nobody has a lock on; false, and all of them stay, where somebody has one of them."""
    with ExitStack() as stack:
        for path in paths:
            with suppress(FileNotFoundError):
                # for writing, since NFS gives an exclusive lock to no other (flock(2))
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                stack.callback(os.close, descriptor)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
        for path in paths:
            path.unlink(missing_ok=True)
    return True


@contextmanager
def full_disk() -> Iterator[None]:
    """Turn a full disk into StorageFull; what else goes wrong there passes."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        reason = errno.errorcode[error.errno]
        raise StorageFull(
            "The gateway has no room to keep this; try again later.", private=f"store: {reason}"
        ) from error
