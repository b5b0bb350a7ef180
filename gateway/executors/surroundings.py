"""What a model shares with the rest of its process, and what is put back once a call of it has ended."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable

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


class ModelsCode:
    """Runs code of a model. A child that it has forked ends here: it would answer the request a second time."""

    def __enter__(self) -> None:
        self._process, self._blocked = os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def __exit__(self, *_: object) -> None:
        if os.getpid() != self._process:
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)  # of this thread, and of its next call's children
        if sys.getrecursionlimit() < RECURSION_LIMIT:
            sys.setrecursionlimit(RECURSION_LIMIT)
        try:
            for descriptor in _copies:
                os.fstat(descriptor)
        except OSError:
            _reopen()


def _reopen() -> None:
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
    """The working folder and umask in which calls of a model begin: those in which this is made."""

    def __init__(self) -> None:
        self._path = working_folder()
        self._umask = os.umask(0o077)  # it cannot be read without being set
        os.umask(self._umask)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        """Put back what a call has changed."""
        os.umask(self._umask)
        if working_folder() != self._path and self._path is not None:
            with contextlib.suppress(OSError):  # removed meanwhile
                os.chdir(self._path)


def working_folder() -> str | None:
    """Return the working folder; None where it has been removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - for each call of a model, and a Path takes 20 times as long
    except OSError:
        return None


def set_apart() -> bool:
    """Give this thread a working folder and umask of its own, so that no other sees its changes; return if it has one.

    Docker's default seccomp profile forbids unshare(2).
    """
    unshare: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "unshare", None)
    return unshare is not None and unshare(CLONE_FS) == 0
