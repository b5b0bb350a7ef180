"""Files and folders that others may touch while the server runs, and what goes wrong with them as problems.

A path may have become a pipe, a device, a folder or a link since the last look: nothing here waits for one.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import StorageFull, Unavailable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The errors of a disk, a quota or a file that takes no more."""
RETRY_SECONDS = 30
"""When a refused caller may try again: somebody has to mend the folder first."""


@contextmanager
def on_disk(place: str) -> Iterator[None]:
    """Raise StorageFull for a full disk, and Unavailable for any other OSError; ``place`` names it in the log."""
    try:
        yield
    except OSError as error:
        private = f"{place}: {errno.errorcode.get(error.errno or 0, type(error).__name__)}"
        if error.errno in FULL:
            raise StorageFull("The gateway has no room for this; try again later.", private=private) from error
        detail = "A folder of the gateway cannot be used now; its log has the reason under this request id."
        raise Unavailable(detail, retry_after=RETRY_SECONDS, private=private) from error


def unwritable(folder: Path) -> str:
    """Return why a file cannot be made and written in a folder, in the system's text; "" where it can.

    Some bytes are written: only that detects a read-only mount, a full disk or a quota, also for root.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(b"gateway")
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""


def open_regular(path: Path | str, flags: int = os.O_RDONLY) -> int:
    """Open a regular file, and nothing that a reader would wait for; one that is made is this user's alone.

    Raises OSError, also for what is not a regular file.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "It is not a regular file")
    return descriptor


def read_regular(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file, ``limit`` of them at most. Raises OSError."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(limit)


def make_private_file(path: Path) -> None:
    """Make an empty file for this user alone; one that exists and is this user's becomes so. Raises OSError.

    An existing file is not opened: to close it would drop the locks that this process has on it (fcntl(2)).
    """
    if not path.exists():
        os.close(open_regular(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    elif not path.is_file():
        raise OSError(errno.EINVAL, "It is not a regular file")
    elif path.stat().st_uid == os.geteuid():
        path.chmod(0o600)


def make_private(folder: Path) -> None:
    """Make a folder and those above it where they are missing, for this user alone. Raises OSError."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
