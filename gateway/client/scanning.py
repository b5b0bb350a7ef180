"""The files of a study and their digests: hashed in threads, and not again while they stay as they are."""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from gateway.client.errors import SourceUnreadable
from gateway.client.hashes import HashCache, Known, Stat
from gateway.client.parallel import Tally, in_parallel
from gateway.client.upload import PIECE, Progress, Source
from gateway.errors import StudyRefused

THREADS = min(8, os.cpu_count() or 1)
"""Files hashed at once: sha256 leaves Python's lock alone, a disk wants a queue."""

HASHED = 1 << 18
"""Bytes hashed at once, into the same memory again, which stays in a core's cache."""

Files = str | Path | Iterable[Source]
"""A study at hand: a file, a folder of them, or files by path, as bytes or open."""


@dataclass(frozen=True)
class Entry:
    """One DICOM instance at hand, and what a manifest says of it. ``size`` is in bytes."""

    source: Source
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    size: int
    sha256: str

    @property
    def words(self) -> dict[str, Any]:
        """Its entry in a manifest."""
        return {
            "sop_instance_uid": self.sop_instance_uid,
            "series_instance_uid": self.series_instance_uid,
            "study_instance_uid": self.study_instance_uid,
            "size": self.size,
            "sha256": self.sha256,
        }


def scan(files: Files, cache: HashCache, progress: Progress | None = None) -> list[Entry]:
    """Every DICOM instance among ``files``, once; other files are left out. Raises as a ``Scan``."""
    return list(Scan(files, cache, progress))


class Scan:
    """Every DICOM instance among ``files``, once and in their order, each as soon as it has been hashed; other files
    are left out. To be iterated once.

    ``progress`` is in bytes hashed. Raises SourceUnreadable for what cannot be read or changes meanwhile, StudyRefused
    for a broken DICOM file, or where there is none.
    """

    def __init__(self, files: Files, cache: HashCache, progress: Progress | None = None) -> None:
        self._paths, self._held = _sorted(files)
        self._digests = Digests(self._paths, cache, progress)
        self._described = [(source, _describe(source)) for source in self._held]
        if missing := sum(not known.sop for _, known in self._described):
            raise SourceUnreadable(f"{missing} of the files are no DICOM instances.")
        self.left = self._digests.size + sum(known.stat.size for _, known in self._described)
        """Bytes of the files that have not been looked at yet."""
        self.left_out = 0
        """Files that were no DICOM instances, of those looked at."""

    @property
    def known(self) -> bool:
        """Whether nothing is left to be hashed."""
        return not self._digests.unknown

    def __iter__(self) -> Iterator[Entry]:
        seen = set[str]()
        for source, known in chain(self._from_disk(), self._described):
            self.left -= known.stat.size
            self.left_out += not known.sop
            if known.sop and known.sha256 not in seen:
                seen.add(known.sha256)
                yield _entry(source, known)
        if not seen:
            raise StudyRefused("There is no DICOM file here.")

    def _from_disk(self) -> Iterator[tuple[Path, Known]]:
        return ((self._paths[key], known) for key, known in self._digests)


class Digests:
    """What is known of files by their absolute paths, in their order; what the cache does not hold is read and hashed.

    With ``dicom`` the UIDs in them too. To be iterated once. Raises SourceUnreadable.
    """

    def __init__(
        self, paths: dict[str, Path], cache: HashCache, progress: Progress | None = None, *, dicom: bool = True
    ) -> None:
        self._paths, self._cache, self._dicom = paths, cache, dicom
        stats = {key: _stat(path) for key, path in paths.items()}
        self._known = cache.look_up(stats)
        self.unknown = [key for key in paths if key not in self._known]
        self.size = sum(one.size for one in stats.values())
        self._tally = Tally(sum(stats[key].size for key in self.unknown), progress)

    def __iter__(self) -> Iterator[tuple[str, Known]]:
        fresh: dict[str, Known] = {}
        order = iter(self._paths)
        try:
            for key in order if not self.unknown else ():
                yield key, self._known[key]
            reading = in_parallel(self._read, self.unknown, THREADS) if self.unknown else ()
            awaited = next(order, None)
            for key, known in reading:
                fresh[key] = self._known[key] = known
                while awaited in self._known:
                    yield awaited, self._known[awaited]
                    awaited = next(order, None)
        finally:
            self._cache.remember(fresh)

    def _read(self, key: str) -> tuple[str, Known]:
        return key, _read(self._paths[key], self._tally, self._dicom)


def absolute(paths: Iterable[Path]) -> dict[str, Path]:
    """Files by what the cache knows them by."""
    return {str(path.absolute()): path for path in paths}


def _sorted(files: Files) -> tuple[dict[str, Path], list[bytes | BinaryIO]]:
    """Files that a cache can remember, and those in memory."""
    if isinstance(files, str | Path):
        return absolute(_below(Path(files))), []
    given = list(files)
    paths = absolute(path for one in given if isinstance(one, Path) for path in _below(one))
    return paths, [one for one in given if not isinstance(one, Path)]


def _below(path: Path) -> Iterator[Path]:
    from gateway.dicom.reading.files import find_files

    if not path.exists():
        raise SourceUnreadable(f"{path} is not there.")
    if not (path.is_dir() or path.is_file()):  # a pipe would wait for ever, a device has no end
        raise SourceUnreadable(f"{path} is neither a file nor a folder.")
    return find_files(path, refuse_unlisted)


def refuse_unlisted(path: Path, why: str) -> None:
    """Raise SourceUnreadable for a folder that cannot be listed: half of a study may be in it."""
    if path.is_dir():
        raise SourceUnreadable(f"{path} {why}.")


def named(path: Path) -> AbstractContextManager[None]:
    """Let a StudyRefused from inside say which file it is about, as one who has the files wants to know."""
    from gateway.dicom.reading.naming import saying

    return saying(lambda why: f"{path}: {why}")


def _entry(source: Source, known: Known) -> Entry:
    return Entry(source, known.sop, known.series, known.study, known.stat.size, known.sha256)


def _stat(path: Path) -> Stat:
    try:
        return Stat.of(path.stat())
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}.") from error


def _read(path: Path, tally: Tally, dicom: bool) -> Known:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(HASHED))
    try:
        with path.open("rb", buffering=0) as file:
            before = Stat.of(os.fstat(file.fileno()))
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                tally.add(count)
            with named(path):
                uids = _uids(file) if dicom else ()
            after = Stat.of(os.fstat(file.fileno()))
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}.") from error
    if before != after:
        raise SourceUnreadable(f"{path} changed while it was hashed.")
    return Known(before, digest.hexdigest(), *uids)


def _describe(source: Source) -> Known:
    """A file in memory."""
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    assert not isinstance(file, Path)
    file.seek(0)
    digest, size = hashlib.sha256(), 0
    while piece := file.read(PIECE):
        digest.update(piece)
        size += len(piece)
    from gateway.dicom.reading.naming import naming

    with naming(file):
        return Known(Stat(size, 0, 0, 0), digest.hexdigest(), *_uids(file))


def _uids(file: BinaryIO) -> tuple[str, ...]:
    """Study, series and SOP Instance UID; nothing for a file that is no instance. Raises StudyRefused."""
    from gateway.dicom.reading.files import NotAnInstance
    from gateway.dicom.reading.identity import identify

    with suppress(NotAnInstance):
        found = identify(file)
        return found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid
    return ()
