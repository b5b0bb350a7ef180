"""The files of a study and their digests: hashed in threads, and not again while they stay as they are."""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gateway.client.errors import SourceUnreadable
from gateway.client.hashes import HashCache, Known, Stat
from gateway.client.parallel import Tally, in_parallel
from gateway.client.upload import PIECE, Progress, Source

THREADS = min(8, os.cpu_count() or 1)
"""Files hashed at once: sha256 leaves Python's lock alone, a disk wants a queue."""

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
    """Every DICOM instance among ``files``, once; other files are left out. ``progress`` is in bytes hashed.

    Raises SourceUnreadable for what cannot be read or changes meanwhile, StudyRefused for a broken DICOM file, or where
    there is none.
    """
    paths, held = _sorted(files)
    known = digests(paths, cache, progress)
    entries = [_entry(path, known[key]) for key, path in paths.items() if known[key].sop]
    entries += [_entry(source, _describe(source)) for source in held]
    if missing := [entry for entry in entries if not entry.sop_instance_uid]:
        raise SourceUnreadable(f"{len(missing)} of the files are no DICOM instances.")
    if not entries:
        from gateway.errors import StudyRefused

        raise StudyRefused("There is no DICOM file here.")
    return list({entry.sha256: entry for entry in reversed(entries)}.values())[::-1]


def digests(
    paths: dict[str, Path], cache: HashCache, progress: Progress | None = None, *, dicom: bool = True
) -> dict[str, Known]:
    """What is known of files by their absolute paths; what the cache does not hold is read and hashed.

    With ``dicom`` the UIDs in them too. Raises SourceUnreadable.
    """
    stats = {key: _stat(path) for key, path in paths.items()}
    known = cache.look_up(stats)
    unknown = [key for key in paths if key not in known]
    tally = Tally(sum(stats[key].size for key in unknown), progress)

    def read(key: str) -> tuple[str, Known]:
        return key, _read(paths[key], tally, dicom)

    fresh = dict(in_parallel(read, unknown, THREADS)) if unknown else {}
    cache.remember(fresh)
    return known | fresh


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
    from gateway.dicom.files import find_files

    if not path.exists():
        raise SourceUnreadable(f"{path} is not there.")
    return find_files(path)


def _entry(source: Source, known: Known) -> Entry:
    return Entry(source, known.sop, known.series, known.study, known.stat.size, known.sha256)


def _stat(path: Path) -> Stat:
    try:
        return Stat.of(path.stat())
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}.") from error


def _read(path: Path, tally: Tally, dicom: bool) -> Known:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            before = Stat.of(os.fstat(file.fileno()))
            while piece := file.read(PIECE):
                digest.update(piece)
                tally.add(len(piece))
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
    return Known(Stat(size, 0, 0, 0), digest.hexdigest(), *_uids(file))


def _uids(file: BinaryIO) -> tuple[str, ...]:
    """Study, series and SOP Instance UID; nothing for a file that is no instance. Raises StudyRefused."""
    from gateway.dicom.attributes import text
    from gateway.dicom.receipt import split

    instances, _ = split([file])
    return tuple(
        found
        for one in instances
        for found in (text(one.header, "StudyInstanceUID"), one.series_instance_uid, one.sop_instance_uid)
    )
