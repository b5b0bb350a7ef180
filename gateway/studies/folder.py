"""Bytes in a folder, each file under its name in one of 256 folders: ``ab/abcd...``.

A file is written elsewhere in the same file system and renamed, so that it is here whole or not at all. Who reads it
holds a shared lock on it: the lease that keeps it from being evicted, and that ends with the process at the latest.
"""

import errno
import fcntl
import hashlib
import io
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from gateway.spool.disk import make_private, on_disk, open_regular
from gateway.studies.blobs import GONE, STORE, Incoming, Spoiled, unlink, unlink_unless_locked
from gateway.studies.checked_files import CheckedFiles

_NAME = re.compile(r"[0-9a-f]{64}")
QUARANTINE = "quarantine"


class FolderBlobs:
    """The keeper of bytes on a disk, which several processes and hosts may share."""

    def __init__(self, root: Path, *, durable: bool = False) -> None:
        """Keep bytes below ``root``; ``durable`` waits for the disk at each file."""
        self._root = root
        self._durable = self.waits = durable
        self._checked = CheckedFiles()
        self._aside = root / QUARANTINE
        make_private(self._aside)

    def settle(self, incoming: Incoming, name: str, *, late: bool = False) -> str:
        """Write what is still in memory to the disk, where that is asked for."""
        if self._durable and not late:
            _sync(incoming.descriptor)
        return name

    def place(self, incoming: Incoming, location: str, *, last: bool = True) -> None:
        """Rename; a folder that is made for it costs more than the rename, and is made once."""
        path = self._path(location)
        with on_disk(STORE):
            self._require()
            try:
                incoming.move(path)
            except FileNotFoundError:  # the first of its folder: one in 256 files, of a store that is new
                path.parent.mkdir(mode=0o700, exist_ok=True)
                incoming.move(path)
            self._checked.add(os.fstat(incoming.descriptor), location)
            if last and self._durable:
                _sync_folder(str(path.parent))

    def finishing(self, locations: Iterable[str], late: Iterable[Incoming] = ()) -> list[Callable[[], None]]:
        """Return what writes the late bytes to the disk, and the names, each folder once: at once, it is asked once."""
        if not self._durable:
            return []
        folders = sorted({str(self._path(location).parent) for location in locations})
        syncs = [partial(_sync, incoming.descriptor) for incoming in late]
        return [*syncs, *(partial(_sync_folder, folder) for folder in folders)]

    def abandon(self, location: str) -> None:
        """Do nothing: no byte was written under the name yet."""

    def open(self, location: str, sha256: str, size: int, *, unchanged: bool = False) -> BinaryIO:
        """Lock, then read all of it once. Raises Spoiled, and Unavailable for a folder that cannot be read now."""
        with on_disk(STORE):
            file = io.BufferedReader(io.FileIO(self._descriptor(self._name(location))))
        try:
            self._check(file, sha256, size, unchanged)
        except BaseException as error:
            file.close()
            if isinstance(error, OSError):  # EIO: the disk itself has lost it
                raise Spoiled from error
            raise
        return file

    def _check(self, file: "io.BufferedReader[io.FileIO]", sha256: str, size: int, unchanged: bool) -> None:
        """Lock the file for reading, and leave it at its start. Raises Spoiled."""
        fcntl.flock(file, fcntl.LOCK_SH)
        status = os.fstat(file.fileno())
        if not status.st_nlink or status.st_size != size:
            raise Spoiled
        if unchanged and self._checked.has(status, sha256):
            return
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise Spoiled
        self._checked.add(status, sha256)
        file.seek(0)

    def _descriptor(self, path: str) -> int:
        """Open without waiting for a pipe. Raises Spoiled, and OSError where the folder itself is gone."""
        try:
            return open_regular(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno not in GONE:
                raise
        self._require()
        raise Spoiled

    def has(self, location: str, size: int) -> bool:
        """Look at the file's size alone."""
        try:
            status = self._path(location).lstat()
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == size

    @on_disk(STORE)
    def remove(self, *locations: str, used_too: bool = False) -> bool:
        """Unlink, unless somebody reads one of them; with ``used_too`` its readers finish on the removed file."""
        self._require()
        paths = [self._path(location) for location in locations]
        if not used_too:
            return unlink_unless_locked(*paths)
        unlink(*paths)
        return True

    @on_disk(STORE)
    def quarantine(self, location: str, label: str) -> None:
        """Rename into a folder beside the others."""
        with suppress(FileNotFoundError, NotADirectoryError):
            self._path(location).rename(self._aside / f"{_plain(label)}-{location}-{secrets.token_hex(4)}")

    @on_disk(STORE)
    def purge(self, label: str) -> None:
        """Remove what was set aside under a label."""
        self._require()
        for path in self._aside.glob(f"{_plain(label)}-*"):
            unlink(path)

    @on_disk(STORE)
    def purge_older(self, moment: float) -> None:
        """Remove what was received before ``moment``, in seconds since 1970, and set aside since."""
        for path in self._aside.glob("*"):
            if path.lstat().st_mtime < moment:
                unlink(path)

    def names(self) -> Iterator[tuple[str, float]]:
        """Walk the folders."""
        for path in self._root.glob("[0-9a-f][0-9a-f]/*"):
            with suppress(FileNotFoundError):
                yield path.name, path.lstat().st_mtime

    def close(self) -> None:
        """Do nothing: no file is open but those of readers."""

    def _require(self) -> None:
        """Raise OSError where the folder is gone: a disk that is not mounted has lost nothing, and forgets nothing."""
        if not self._aside.is_dir():
            raise FileNotFoundError(errno.ENOENT, "The folder of the store is gone")

    def _path(self, location: str) -> Path:
        return Path(self._name(location))

    def _name(self, location: str) -> str:
        """Return the path as a text: a study has hundreds, and each Path costs more than to open its file."""
        name = _plain(location)
        return f"{self._root}/{name[:2]}/{name}"


@on_disk(STORE)
def _sync(descriptor: int) -> None:
    os.fsync(descriptor)


@on_disk(STORE)
def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(name: str) -> str:
    """Raise ValueError for anything but 64 hexadecimal digits: no other name reaches the file system."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name in the store is 64 hexadecimal digits")
    return name
