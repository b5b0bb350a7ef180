"""Studies that already lie on a disk the gateway can read: from a ``studyPath`` to open files in spatial order.

A path is hostile. It is resolved first and compared with the root afterwards, so that ``..``, absolute paths and
symbolic links all meet the same rule, and nothing outside the root can be told to exist or not.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from gateway.config import Settings
from gateway.dicom.reading.files import NotAnInstance
from gateway.dicom.reading.holes import File, Hole, find_holes, head_of, refuse
from gateway.dicom.reading.instances import Instance, read_instance, spatial_order
from gateway.dicom.reading.nifti_heads import nifti_kind
from gateway.errors import LimitExceeded, PathForbidden, StudyNotFound, StudyRefused, UnsupportedMedia

FORBIDDEN = "studyPath must lie below the study root of this gateway."


def open_study(study_path: str, settings: Settings) -> Iterator[BinaryIO]:
    """The DICOM files below ``study_path``, in spatial order, DICOMDIR left out; where there are none the NIfTI files.

    Each is to be closed by the caller.

    Raises UnsupportedMedia without a study root, PathForbidden for what resolves outside it, StudyNotFound,
    LimitExceeded (``max_study_files``, ``max_body_bytes``), StudyRefused where a part of the study cannot be read.
    """
    if settings.study_root is None:
        raise UnsupportedMedia(
            "This gateway reads no studyPath: its setting study_root (GATEWAY_STUDY_ROOT) is not set."
        )
    root = _resolve(settings.study_root)
    files = _study(root, _files(root, study_path, settings))
    if not files:
        raise StudyNotFound("There is no DICOM file and no NIfTI file below this studyPath.")
    for file in files:
        yield _open_inside(root, file)


def _open_inside(root: Path, path: Path) -> BinaryIO:
    """Open a regular file, and make sure once it is open that it does lie below ``root``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise StudyNotFound("A file of this study cannot be read.", private=type(error).__name__) from error
    file = os.fdopen(descriptor, "rb")
    real = Path(os.path.realpath(f"/proc/self/fd/{descriptor}")) if Path("/proc/self/fd").exists() else path
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not real.is_relative_to(root):
        file.close()
        raise PathForbidden(FORBIDDEN)
    return file


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long, a NUL
        raise PathForbidden(FORBIDDEN, private=type(error).__name__) from error


def _files(root: Path, study_path: str, settings: Settings) -> Iterator[Path]:
    """Regular files below the path, depth first by name; each folder once, whatever links lead to it."""
    pending, seen, count, size = [_inside(root, root / study_path)], set[Path](), 0, 0
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        try:
            if path.is_dir():
                pending.extend(_inside(root, child) for child in sorted(path.iterdir(), reverse=True))
                continue
            status = path.stat()
        except OSError as error:
            raise StudyNotFound("This studyPath cannot be read.", private=type(error).__name__) from error
        if not stat.S_ISREG(status.st_mode) or path.name.upper() == "DICOMDIR":
            continue
        count, size = count + 1, size + status.st_size
        if count > settings.max_study_files:
            raise LimitExceeded("max_study_files", settings.max_study_files, "files", what="The study")
        if size > settings.max_body_bytes:
            raise LimitExceeded("max_body_bytes", settings.max_body_bytes, what="The study")
        yield path


def _inside(root: Path, path: Path) -> Path:
    resolved = _resolve(path)
    if not resolved.is_relative_to(root):
        raise PathForbidden(FORBIDDEN)
    return resolved


def _study(root: Path, paths: Iterable[Path]) -> list[Path]:
    """The DICOM files in spatial order, else the NIfTI files.

    Raises StudyRefused, which names by their place the parts that are broken.
    """
    found: list[Instance] = []
    broken: list[Hole] = []
    others: list[File] = []
    for place, path in enumerate(paths, start=1):
        with _open_inside(root, path) as file:
            try:
                found.append(replace(read_instance(file), source=path))
            except NotAnInstance:
                others.append(File(path, place, head_of(file)))
            except StudyRefused as error:
                broken.append(Hole(path, place, error.detail))
    if holes := broken + find_holes((Path(str(one.source)) for one in found), others):
        refuse(sorted(holes, key=lambda hole: hole.place))
    return [Path(str(one.source)) for one in spatial_order(found)] or [one.path for one in others if _is_nifti(one)]


def _is_nifti(file: File) -> bool:
    return nifti_kind(file.head or b"") is not None
