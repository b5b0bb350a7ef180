"""The files of a study and their digests: hashed in threads, and only once while they are unchanged."""

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from gateway.client.errors import SourceUnreadable
from gateway.client.hashes import HashCache, Known, Stat
from gateway.client.local_files import Files, LocalFiles
from gateway.client.parallel import Tally, in_parallel
from gateway.client.unreadable import Skipping, Unreadable
from gateway.client.upload_body import PIECE, OnProgress, Source
from gateway.contract.brief import Brief
from gateway.dicom.reading.holes import File, find_holes, head_of, is_part10
from gateway.errors import StudyRefused

THREADS = min(8, os.cpu_count() or 1)
"""Files hashed at once: sha256 leaves Python's lock alone, a disk wants a queue."""

HASHED = 1 << 18
"""Bytes hashed at once, into the same memory again, which stays in a core's cache."""

LONGEST_UID = 64
_UID = re.compile(r"[0-9]+(\.[0-9]+){0,31}")


@dataclass(frozen=True, repr=False)
class ScannedInstance(Brief):
    """A local DICOM instance and its entry in a manifest. ``size`` is in bytes."""

    _shown = frozenset({"sha256"})

    source: Source
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    size: int
    sha256: str

    @property
    def words(self) -> dict[str, Any]:
        """Return its entry in a manifest."""
        return {
            "sop_instance_uid": self.sop_instance_uid,
            "series_instance_uid": self.series_instance_uid,
            "study_instance_uid": self.study_instance_uid,
            "size": self.size,
            "sha256": self.sha256,
        }


class Scan:
    """Every DICOM instance among ``files``, once and in their order, each as soon as it has been hashed; other files
    are left out. Where none is DICOM, PNG and JPEG images are one series. To be iterated once.

    ``progress`` is in bytes hashed. Raises SourceUnreadable for what cannot be read or changes meanwhile;
    StudyUnreadable for a part of the study that cannot be read and that ``skipping`` does not allow to leave out, at
    once where its first bytes show it; StudyRefused where there is no DICOM file.
    """

    def __init__(
        self, files: Files, cache: HashCache, progress: OnProgress | None = None, skipping: Skipping | None = None
    ) -> None:
        self._skipping = skipping or Skipping()
        self._files = LocalFiles(files)
        self._digests = Digests(self._files.paths, cache, progress)
        if self._sort_others():
            self._digests = Digests(self._files.paths, cache, progress)
        self._described = [(place, source, _describe(source)) for place, source in self._files.held]
        self.left = self._digests.size + sum(known.stat.size for _, _, known in self._described)
        """Bytes of the files that have not been read yet."""
        self.ignored = len(self._files.special)
        """Files that are not DICOM instances, of those read."""

    @property
    def known(self) -> bool:
        """Return True if all files have been hashed."""
        return not self._digests.unknown

    @property
    def skipped(self) -> tuple[Unreadable, ...]:
        """Unreadable parts of the study that were left out, of those looked at."""
        return self._skipping.files

    def __iter__(self) -> Iterator[ScannedInstance]:
        seen = set[str]()
        source: Source
        for name, source, known in chain(self._from_disk(), self._described):
            self.left -= known.stat.size
            if known.fault:
                self._skipping.skip([Unreadable(name, known.fault)])
            elif not known.sop:
                self.ignored += 1
            elif known.sha256 not in seen:
                seen.add(known.sha256)
                yield _entry(source, known)
        if not seen:
            raise StudyRefused(
                "There is no DICOM file and no PNG or JPEG image here; a NIfTI file is not stored, but sent with its"
                " request."
            )

    def _from_disk(self) -> Iterator[tuple[str, Path, Known]]:
        paths = self._files.paths
        return ((self._files.name(paths[key]), paths[key], known) for key, known in self._digests)

    def _sort_others(self) -> bool:
        """Leave out what looks like a part of the study by its first bytes, and read images where nothing is DICOM.

        Returns True if files were left out. Raises StudyUnreadable.
        """
        study = self._files
        unknown = self._digests.without_uids()
        files = {file.path: file for file in in_parallel(_peek, [study.paths[key] for key in unknown], THREADS) if file}
        instances = [path for path in study.paths.values() if path not in files]
        others = sorted([*study.special, *files.values()], key=lambda file: file.path)
        holes = find_holes(instances, others)
        unreadable = [Unreadable(f"{study.name(path)}/", "It cannot be listed.") for path in study.unlisted]
        unreadable += [Unreadable(study.name(hole.path), hole.why) for hole in holes]
        left_out = {hole.path for hole in holes}
        if not (instances or unreadable or study.held):
            images, broken = study.read_images()
            unreadable += broken
            left_out.update(images)
        self._skipping.skip(unreadable)
        study.leave_out(left_out)
        return bool(left_out)


def _peek(path: Path) -> File | None:
    """Return the file and its first bytes; None for DICOM, and for a file that reading will refuse."""
    with suppress(OSError), path.open("rb") as file:
        return File(path, 0, head) if not is_part10(head := head_of(file)) else None
    return None


class Digests:
    """Digests of files by absolute path, in their order; files that are not cached are read and hashed.

    With ``dicom`` the UIDs in them too. To be iterated once. Raises SourceUnreadable.
    """

    def __init__(
        self, paths: dict[str, Path], cache: HashCache, progress: OnProgress | None = None, *, dicom: bool = True
    ) -> None:
        self._paths, self._cache, self._dicom = paths, cache, dicom
        stats = {key: _stat(path) for key, path in paths.items()}
        self._known = cache.look_up(stats)
        self.unknown = [key for key in paths if key not in self._known]
        self.size = sum(one.size for one in stats.values())
        self._tally = Tally(sum(stats[key].size for key in self.unknown), progress)

    def without_uids(self) -> list[str]:
        """Return the files that are not cached, or were not DICOM instances when they were hashed."""
        return [key for key in self._paths if key not in self._known or not self._known[key].sop]

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


def _entry(source: Source, known: Known) -> ScannedInstance:
    return ScannedInstance(source, known.sop, known.series, known.study, known.stat.size, known.sha256)


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
            uids = _uids(file) if dicom else ()
            after = Stat.of(os.fstat(file.fileno()))
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}.") from error
    if before != after:
        raise SourceUnreadable(f"{path} changed while it was hashed.")
    return Known(before, digest.hexdigest(), *uids)


def _describe(source: Source) -> Known:
    """Describe a file in memory."""
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    assert not isinstance(file, Path)
    file.seek(0)
    digest, size = hashlib.sha256(), 0
    while piece := file.read(PIECE):
        digest.update(piece)
        size += len(piece)
    return Known(Stat(size, 0, 0, 0), digest.hexdigest(), *(_uids(file) or ("", "", "", "It is not a DICOM instance.")))


def _uids(file: BinaryIO) -> tuple[str, ...]:
    """Return study, series and SOP Instance UID of an instance, and its fault; empty for any other file."""
    from gateway.dicom.reading.files import NotAnInstance
    from gateway.dicom.reading.identity import identify

    try:
        found = identify(file)
    except NotAnInstance:
        return ()
    except StudyRefused as error:
        return "", "", "", error.detail
    uids = found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid
    return *uids, _fault(uids)


def _fault(uids: tuple[str, str, str]) -> str:
    """Return a sentence on the invalid UID that does not quote it (PS3.5 9.1)."""
    for level, uid in zip(("Study", "Series", "SOP"), uids, strict=True):
        if not uid:
            return f"It has no {level} Instance UID."
        if len(uid) > LONGEST_UID or not _UID.fullmatch(uid):
            return f"Its {level} Instance UID is not a UID."
    return ""
