"""A bundle in a folder of the node: which of its files are there, and how the others get there. No Ray in it.

A file that is there and is another is never replaced: a replica may be using it.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gateway.errors import KeyRefused
from gateway.studies.bundle_keys import check_key

LOCK = ".gateway-lock"
"""Of the process that writes to the folder: others wait, and find the files."""
PARTIAL = ".gateway-"
"""Prefix of a file until it is complete and checked."""
UNFINISHED = re.compile(re.escape(PARTIAL) + "[0-9a-f]{16}")
"""The name of such a file."""


class BundleRefused(Exception):
    """The folder cannot have the bundle; the text says why, and what to do."""


class NodeBundle:
    """The folder of one bundle on this node. ``files`` has the sha256 of each key."""

    def __init__(self, name: str, folder: str, files: Mapping[str, str]) -> None:
        self._name = name
        self._folder = Path(folder)
        self._files = files
        self._lock: BinaryIO | None = None
        self._unfinished: tuple[Path, BinaryIO] | None = None
        self._digest = hashlib.sha256()

    def missing(self) -> list[str]:
        """Hash what is there; return the keys to write, and let no other process write until ``close``.

        Raises BundleRefused where a file is another.
        """
        with self._refusing():
            self._folder = self._folder.expanduser()
            missing = self._compared()
            if missing and self._lock is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._lock = os.fdopen(_open_lock(self._folder / LOCK), "wb")
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                self._remove_partial()
                missing = self._compared()  # another process may have written them meanwhile
            return missing

    def _remove_partial(self) -> None:
        """Remove what killed processes have left half written: only who has the lock writes.

        A folder below may be that of another bundle, which has a lock of its own.
        """
        for folder in {self._path(key).parent for key in self._files}:
            for path in folder.glob(f"{PARTIAL}*"):
                if UNFINISHED.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def _compared(self) -> list[str]:
        missing = [key for key in self._files if not self._path(key).exists()]
        for key in self._files.keys() - set(missing):
            with self._path(key).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != self._files[key]:
                raise BundleRefused(
                    f"{self._path(key)} has sha256 {found[:12]}, and {self._files[key][:12]} in the bundle "
                    f"{self._name}; remove it, or name another folder"
                )
        return missing

    def write(self, key: str, piece: memoryview, *, last: bool) -> None:
        """Add the next piece of a file; with the ``last``, check it, and give it its name. Raises BundleRefused."""
        with self._refusing():
            if self._unfinished is None:
                target = self._path(key)
                target.parent.mkdir(parents=True, exist_ok=True)
                path = target.with_name(PARTIAL + secrets.token_hex(8))
                self._unfinished, self._digest = (path, path.open("xb")), hashlib.sha256()
            path, file = self._unfinished
            file.write(piece)
            self._digest.update(piece)
            if last:
                self._finish(key, path, file)

    def _finish(self, key: str, path: Path, file: BinaryIO) -> None:
        file.flush()
        os.fsync(file.fileno())
        file.close()
        self._unfinished = None
        if self._digest.hexdigest() != self._files[key]:
            path.unlink()
            raise BundleRefused(f"{key} of the bundle {self._name} has arrived with other bytes than its digest states")
        path.rename(self._path(key))

    def close(self) -> None:
        """Let others write, and leave no file half written."""
        if self._unfinished is not None:
            path, file = self._unfinished
            file.close()
            path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    def _path(self, key: str) -> Path:
        """Return the path of a file; no link on the way may lead out of the folder. Raises BundleRefused."""
        path = self._folder.joinpath(*PurePosixPath(check_key(key)).parts)
        if not path.parent.resolve().is_relative_to(self._folder.resolve()):
            raise BundleRefused(f"{key} of the bundle {self._name} would not lie in {self._folder}")
        return path

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """Have errors of the system and of a key raise BundleRefused; RuntimeError is a user without a home."""
        try:
            yield
        except (OSError, KeyRefused, RuntimeError) as error:
            raise BundleRefused(f"the bundle {self._name} has no place in {self._folder}: {error}") from error


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
