"""Files of a folder for a peer, and files from a peer into a folder: all of them or none."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from gateway.dicom.reading.identity import identify
from gateway.errors import LimitExceeded, PeerFailed, StudyRefused
from gateway.peers.peer import OutgoingInstance


class FolderSink:
    """Fetched files under their SOP Instance UIDs. Use as a context manager: without ``keep`` nothing stays."""

    def __init__(self, folder: Path, study: str) -> None:
        """Raises ValueError for a folder that has files. Raises OSError."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} exists and is not empty; name a new folder.")
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        self._folder, self._study = folder, study
        self._parts = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f".{folder.name}-"))
        self._file: BinaryIO | None = None
        self.files = 0
        """Complete files so far."""

    def begin_part(self, media_type: str) -> None:
        """See ``InstanceSink.begin_part``."""
        self._file = (self._parts / "part").open("w+b")

    def write(self, data: bytes | memoryview) -> None:
        """See ``InstanceSink.write``."""
        assert self._file is not None
        self._file.write(data)

    def end(self) -> None:
        """Name the file. Raises PeerFailed for one that is not an instance of the study, or is there already."""
        assert self._file is not None
        with self._file:
            self._file.seek(0)
            try:
                sop, _, study = identify(self._file)
            except (StudyRefused, LimitExceeded):
                raise PeerFailed("The peer sends a part that is not a readable DICOM file.") from None
        path = self._parts / f"{sop}.dcm"
        if study != self._study or not sop.replace(".", "").isdigit() or path.exists():
            raise PeerFailed("The peer sends an instance of another study, or one instance twice.")
        (self._parts / "part").rename(path)
        self.files += 1

    def keep(self) -> None:
        """Put the files into their folder."""
        self._parts.chmod(0o700)
        if self._folder.exists():
            self._folder.rmdir()
        self._parts.rename(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
        shutil.rmtree(self._parts, ignore_errors=True)


def outgoing(paths: Sequence[Path]) -> tuple[list[OutgoingInstance], int]:
    """Return the DICOM files at paths and below them, and how many other files there are. Raises OSError."""
    found, skipped = [], 0
    for path in (file for given in paths for file in _files(given)):
        with path.open("rb") as file:
            try:
                uid = identify(file).sop_instance_uid
            except (StudyRefused, LimitExceeded):
                skipped += 1
                continue
            size = os.fstat(file.fileno()).st_size
        found.append(OutgoingInstance(uid, size, partial(_opened, path)))
    return found, skipped


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
