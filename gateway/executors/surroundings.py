"""What a model shares with the rest of its process, and what is put back once a call of it has ended."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator

CLONE_FS = 0x200
"""Working folder, root and umask of a thread (unshare(2))."""
RECURSION_LIMIT = sys.getrecursionlimit()
"""Python's own; with less, the gateway's code would raise RecursionError for everybody."""

_copies: dict[int, int] = {}
"""Copies of standard input, output and error, by their descriptors."""


def keep_standard_streams() -> None:
    """Have closed standard streams reopened after each call: the next file to be opened would take their place.

    It would then receive what is logged. Called once by a process of a server.
    """
    for descriptor in (0, 1, 2):
        if descriptor not in _copies and _is_open(descriptor):
            _copies[descriptor] = os.dup(descriptor)


@contextlib.contextmanager
def models_code() -> Iterator[None]:
    """Run code of a model. A child that it has forked ends here: it would answer the request a second time."""
    process, blocked = os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # of this thread, and of the children of its next call
        if sys.getrecursionlimit() < RECURSION_LIMIT:
            sys.setrecursionlimit(RECURSION_LIMIT)
        for descriptor, copy in _copies.items():
            if not _is_open(descriptor):
                os.dup2(copy if _is_open(copy) else os.open(os.devnull, os.O_RDWR), descriptor)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class Folder:
    """The working folder and umask of a thread's calls: its own where the system has that, so that no other sees them.

    Make it in the thread. Docker's default seccomp profile forbids unshare(2); there, both are put back after a call.
    """

    def __init__(self) -> None:
        self._is_own = _set_apart()
        self._umask = os.umask(0o077)  # it cannot be read without being set
        os.umask(self._umask)

    @contextlib.contextmanager
    def at(self, folder: str | None) -> Iterator[None]:
        """Run a call in ``folder``, where there is one."""
        if self._is_own:
            _enter(folder)
        before = working_folder()
        try:
            yield
        finally:
            os.umask(self._umask)
            if working_folder() != before:
                _enter(before)


def working_folder() -> str | None:
    """Return the working folder; None where it has been removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - three times for each call of a model, and a Path takes 20 times as long
    except OSError:
        return None


def _enter(folder: str | None) -> None:
    if folder is not None:
        with contextlib.suppress(OSError):  # removed meanwhile
            os.chdir(folder)


def _set_apart() -> bool:
    unshare: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "unshare", None)
    return unshare is not None and unshare(CLONE_FS) == 0
