"""Changes of a small private file: rewritten whole by a rename, by one process at a time."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.access.reloading_file import MAX_BYTES
from gateway.spool.disk import read_regular


def rewrite(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """Replace the bytes of a file by ``edit`` of them, b"" for a missing one; the file has mode 0600.

    Raises OSError, and what ``edit`` raises.
    """
    with _only_one(path.parent):
        _replace(path, edit(read_regular(path, MAX_BYTES) if path.exists() else b""))


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Lock the folder (flock(2)): the file itself is replaced, and a lock on it would stay with the old one."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _replace(path: Path, data: bytes) -> None:
    try:
        handle, name = tempfile.mkstemp(prefix=".callers-", dir=path.parent)  # has mode 0600 from the start
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with os.fdopen(handle, "wb") as file:
            if path.exists() and os.geteuid() == 0:
                os.fchown(file.fileno(), (was := path.stat()).st_uid, was.st_gid)  # the server can still read the file
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
