"""The studies of an archive: DICOM files by their Study Instance UID wherever they lie, and folders of images."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.client.errors import SourceUnreadable, printable
from gateway.client.image_files import in_natural_order, is_image_file
from gateway.client.parallel import in_parallel
from gateway.client.unreadable import Unreadable, named
from gateway.contract.brief import Brief
from gateway.dicom.reading.files import NotAnInstance, find_files
from gateway.dicom.reading.holes import File, find_holes, head_of
from gateway.dicom.reading.identity import identify
from gateway.dicom.reading.nifti_heads import nifti_kind
from gateway.errors import LimitExceeded, StudyRefused

THREADS = 4
"""Files whose headers are read at once: a network disk wants a queue."""
REPORTED = 100
"""Files between two reports of progress."""
LONGEST_NAME = 200
"""Characters of a study's name, which names a folder; a file system allows 255 bytes."""
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, kw_only=True, repr=False)
class FoundStudy(Brief):
    """A study of an archive. ``name`` is its Study Instance UID, or the path of a folder without one; no two share it.

    ``size`` is in bytes. ``broken`` are files that look like a part of it and cannot be read.
    """

    name: str
    files: tuple[Path, ...]
    size: int
    broken: tuple[Unreadable, ...] = ()


class _Folder:
    """The files of one folder as they are found."""

    def __init__(self) -> None:
        self.instances: list[tuple[str, Path]] = []
        self.others: list[File] = []
        self.broken: list[Unreadable] = []


def find_studies(archive: Path, report: Callable[[int], None] = lambda count: None) -> list[FoundStudy]:
    """Return the studies below a folder, in the order of their first files; ``report`` receives the files looked at.

    A NIfTI file in a folder without DICOM is a study of its own. An unreadable file belongs to the studies of its
    folder; in a folder without a study it is one of its own, so that nothing is passed over in silence. Raises
    SourceUnreadable for a missing folder.
    """
    if not archive.exists():
        raise SourceUnreadable(f"{archive} does not exist.")
    unlisted = list[Path]()
    folders = defaultdict[Path, _Folder](_Folder)
    paths = find_files(archive, lambda path, why: unlisted.append(path) if path.is_dir() else None)
    for count, found in enumerate(in_parallel(_look, paths, THREADS), start=1):
        _take(found, archive, folders[found[0].parent])
        if count % REPORTED == 0:
            report(count)
    for path in unlisted:
        folders[path].broken.append(Unreadable(f"{named(archive, path)}/", "It cannot be listed."))
    return _studies(archive, folders)


def _look(path: Path) -> tuple[Path, str | File | Unreadable]:
    """Return a file and its Study Instance UID, its first bytes where it is no instance, or why it is unreadable."""
    try:
        with path.open("rb") as file:
            try:
                uid = identify(file).study_instance_uid
            except NotAnInstance:
                return path, File(path, 0, head_of(file))
    except OSError as error:
        return path, Unreadable(path.name, f"It cannot be read: {error.strerror}.")
    except (StudyRefused, LimitExceeded) as error:
        return path, Unreadable(path.name, error.detail)
    if _UID.fullmatch(uid) is None or not uid.strip("."):
        return path, Unreadable(path.name, "Its Study Instance UID is missing or is not a UID.")
    return path, uid


def _take(found: tuple[Path, str | File | Unreadable], archive: Path, folder: _Folder) -> None:
    path, kind = found
    if isinstance(kind, str):
        folder.instances.append((kind, path))
    elif isinstance(kind, File):
        folder.others.append(kind)
    else:
        folder.broken.append(Unreadable(named(archive, path), kind.reason))


def _studies(archive: Path, folders: dict[Path, _Folder]) -> list[FoundStudy]:
    files, broken = defaultdict[str, list[Path]](list), defaultdict[str, list[Unreadable]](list)
    for path in sorted(folders):
        folder = folders[path]
        holes = find_holes((one for _, one in folder.instances), folder.others)
        unreadable = folder.broken + [Unreadable(named(archive, hole.path), hole.why) for hole in holes]
        names = {uid for uid, _ in folder.instances}
        for uid, instance in sorted(folder.instances, key=lambda pair: pair[1]):
            files[uid].append(instance)
        images = [other.path for other in folder.others if is_image_file(other.path)]
        volumes = [] if names else [one.path for one in folder.others if _is_volume(one)]
        for volume in volumes:
            files[_name_of(archive, volume.with_name(_stem(volume)), files)].append(volume)
        if not names and (images or unreadable):
            names = {_name_of(archive, path, files)}
            files[next(iter(names))] += in_natural_order(images)
        for name in names:
            broken[name] += unreadable
    return [
        FoundStudy(name=name, files=tuple(paths), size=_size(paths), broken=tuple(broken[name]))
        for name, paths in files.items()
    ]


def _is_volume(file: File) -> bool:
    return nifti_kind(file.head or b"") is not None


def _stem(volume: Path) -> str:
    return volume.name.removesuffix(".gz").removesuffix(".nii") or volume.name


def _name_of(archive: Path, path: Path, taken: Iterable[str]) -> str:
    """Return a name for a folder or a NIfTI file without a Study Instance UID, which no study has yet."""
    parts = path.relative_to(archive).parts if path != archive else (path.resolve().name,)
    plain = printable("__".join(parts)).lstrip(".")[:LONGEST_NAME] or "folder"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    return name


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
