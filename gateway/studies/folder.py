"""Bytes in a folder, each file under its name in one of 256 folders: ``ab/abcd...``.

A file is written elsewhere in the same file system and renamed, so that it is here whole or not at all. Who reads it
holds a shared lock on it: the lease that keeps it from being evicted, and that ends with the process at the latest.
"""

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from gateway.errors import Unavailable
from gateway.studies.blobs import Incoming, Spoiled, full_disk, unlink_unless_locked

_NAME = re.compile(r"[0-9a-f]{64}")
QUARANTINE = "quarantine"


class FolderBlobs:
    """The keeper of bytes on a disk, which several processes and hosts may share."""

    def __init__(self, root: Path, *, durable: bool = False) -> None:
        """Keep bytes below ``root``; ``durable`` waits for the disk at each file."""
        self._root = root
        self._durable = durable
        self._aside = root / QUARANTINE
        self._aside.mkdir(parents=True, exist_ok=True, mode=0o700)

    def settle(self, incoming: Incoming, name: str) -> str:
        """Write what is still in memory to the disk, where that is asked for."""
        if self._durable:
            with full_disk():
                os.fsync(incoming.descriptor)
        return name

    def place(self, incoming: Incoming, location: str) -> None:
        """Rename; a folder that is made for it costs more than the rename, and is made once."""
        path = self._path(location)
        with full_disk():
            try:
                incoming.move(path)
            except FileNotFoundError:  # the first of its folder: one in 256 files, of a store that is new
                path.parent.mkdir(mode=0o700, exist_ok=True)
                incoming.move(path)
            if self._durable:
                _sync_folder(path.parent)

    def abandon(self, location: str) -> None:
        """Do nothing: no byte was written under the name yet."""

    def open(self, location: str, sha256: str) -> BinaryIO:
        """Lock, then read all of it once. Raises Spoiled, and Unavailable where too many files are open."""
        try:
            file = self._path(location).open("rb")
        except FileNotFoundError:
            raise Spoiled from None
        except OSError as error:
            raise Unavailable("Too many files are in use; try again.", private=type(error).__name__) from error
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
            if not os.fstat(file.fileno()).st_nlink or hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise Spoiled
            file.seek(0)
        except BaseException as error:
            file.close()
            if isinstance(error, OSError):  # EIO: the disk itself has lost it
                raise Spoiled from error
            raise
        return file

    def remove(self, *locations: str, used_too: bool = False) -> bool:
        """Unlink, unless somebody reads one of them. Who has opened it reads on where ``used_too`` removes it."""
        paths = [self._path(location) for location in locations]
        if not used_too:
            return unlink_unless_locked(*paths)
        for path in paths:
            path.unlink(missing_ok=True)
        return True

    def quarantine(self, location: str, label: str) -> None:
        """Rename into a folder beside the others."""
        with suppress(FileNotFoundError):
            self._path(location).rename(self._aside / f"{_checked(label)}-{location}-{secrets.token_hex(4)}")

    def purge(self, label: str) -> None:
        """Unlink what was set aside under a label."""
        for path in self._aside.glob(f"{_checked(label)}-*"):
            path.unlink(missing_ok=True)

    def purge_older(self, moment: float) -> None:
        """Unlink what was received before ``moment``, in seconds since 1970, and set aside since."""
        for path in self._aside.iterdir():
            if path.stat().st_mtime < moment:
                path.unlink(missing_ok=True)

    def names(self) -> Iterator[tuple[str, float]]:
        """Walk the folders."""
        for path in self._root.glob("[0-9a-f][0-9a-f]/*"):
            with suppress(FileNotFoundError):
                yield path.name, path.stat().st_mtime

    def close(self) -> None:
        """Do nothing: no file is open but those of readers."""

    def _path(self, location: str) -> Path:
        name = _checked(location)
        return self._root / name[:2] / name


def _checked(name: str) -> str:
    """The last gate before the file system: a name is nothing but 64 hexadecimal digits."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name in the store is 64 hexadecimal digits")
    return name


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
