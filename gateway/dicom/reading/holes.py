"""Holes in a study: files that look like a part of it and cannot be read, told from letters, indexes and thumbnails."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gateway.dicom.reading.nifti_heads import GZIP, nifti_kind, unpacked_head
from gateway.errors import StudyRefused

HEAD = 1 << 10
"""Bytes of a file that show what it is: a preamble, or as much of a gzip file as holds one."""

SHOWN = 5
"""Holes that a sentence lists."""

_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
"""Extensions that promise DICOM, whatever the other files are called."""

_ASIDE = frozenset({"dicomdir", "thumbs.db", "desktop.ini", "md5sums", "sha1sums", "sha256sums", "sha512sums"})
_PREAMBLE, _MAGIC, _IMAGES = 128, b"DICM", (b"\x89PNG\r\n", b"\xff\xd8\xff")
_HTML = re.compile(rb"\s*(<\?xml[^>]*>\s*)?<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_NAKED = re.compile(
    rb"DICM"
    rb"|(\x02\0|\x08\0)..(UL|OB|UI|CS|DA|TM|DT|SH|LO)"  # explicit VR, from the file meta information or from group 8
    rb"|\x08\0[\0\x01\x05\x08\x12-\x16\x18]\0.[\0\x01]\0\0",  # implicit VR: a short first value of group 8
    re.DOTALL,
)


@dataclass(frozen=True)
class File:
    """A file that is no DICOM instance: its ``place`` among all, from 1, and its first bytes, None for a pipe."""

    path: Path
    place: int
    head: bytes | None


@dataclass(frozen=True)
class Hole:
    """A part of a study that cannot be read. ``place`` counts files from 1, folder by folder in name order."""

    path: Path
    place: int
    why: str


def head_of(file: BinaryIO) -> bytes:
    """The first ``HEAD`` bytes."""
    file.seek(0)
    return file.read(HEAD)


def is_part10(head: bytes) -> bool:
    """Return True if a file begins as PS3.10 7.1 says."""
    return head[_PREAMBLE:].startswith(_MAGIC)


def find_holes(instances: Iterable[Path], others: Collection[File]) -> list[Hole]:
    """Return those of ``others`` that look like a part of the study whose readable files are ``instances``.

    These are DICOM without a preamble or in gzip, by their bytes; and what is named as an instance is: with the
    extension of one, or without an extension and with a number, where instances have none either. Hidden files,
    thumbnails and a DICOMDIR are none.
    """
    if not others:
        return []
    suffixes = _SUFFIXES | {_suffix(path) for path in instances}
    return [Hole(file.path, file.place, fault_of(file.head)) for file in others if _is_part(file, suffixes)]


def refuse(holes: Sequence[Hole]) -> None:
    """Raise StudyRefused, which names files by their place: their names may be a patient's."""
    reasons = [f"File {hole.place}: {hole.why}" for hole in holes[:SHOWN]]
    members = [{"place": hole.place, "reason": hole.why} for hole in holes[:SHOWN]]
    raise StudyRefused(
        f"{_count(len(holes))} cannot be read, counted folder by folder in name order. {listed(reasons, len(holes))}",
        private=f"{_count(len(holes))} cannot be read",
        unreadable=members,
    )


def listed(sentences: Sequence[str], count: int | None = None) -> str:
    """The first of ``count`` sentences, and how many more there are."""
    rest = (len(sentences) if count is None else count) - SHOWN
    return " ".join(sentences[:SHOWN]) + (f" And {rest} more." if rest > 0 else "")


def _count(number: int) -> str:
    return "A part of the study" if number == 1 else f"{number} parts of the study"


def is_aside(path: Path) -> bool:
    """Return True if a file is hidden, an index, or of a file manager, by its name."""
    return path.name.startswith(".") or path.name.lower() in _ASIDE


def _suffix(path: Path) -> str:
    """The extension; "" where it begins with a digit, as the last number of a UID does."""
    suffix = path.suffix.lower()
    return "" if suffix[1:2].isdigit() else suffix


def _is_part(file: File, suffixes: Collection[str]) -> bool:
    if is_aside(file.path):
        return False
    head, suffix = file.head or b"", _suffix(file.path)
    if is_part10(head):  # a DICOMDIR under another name
        return False
    if _NAKED.match(head) or _is_packed_part10(head):
        return True
    return suffix in suffixes and (bool(suffix) or any(map(str.isdigit, file.path.name)))


def _is_packed_part10(head: bytes) -> bool:
    return head.startswith(GZIP) and is_part10(unpacked_head(head, _PREAMBLE + len(_MAGIC)))


def fault_of(head: bytes | None) -> str:
    """A sentence on why a file with these first bytes is no DICOM instance; None stands for a pipe."""
    if head is None:
        return "It is not a regular file."
    if not head:
        return "It has no bytes."
    if nifti_kind(head) is not None:
        return "It is a NIfTI file, which a Volume is made of where the request has no DICOM file."
    if head.startswith(b"NRRD"):
        return "It is an NRRD file; write it as NIfTI, such as scan.nii.gz."
    if head.startswith(GZIP):
        return "It is compressed with gzip."
    if _HTML.match(head):
        return "It is an HTML page."
    if head.startswith(_IMAGES):
        return "It is a PNG or JPEG image under another extension."
    if _NAKED.match(head):
        return "It has no preamble (PS3.10 7.1)."
    if len(head) < _PREAMBLE:
        return "It ends within its preamble."
    return "It has no DICM at byte 128 (PS3.10 7.1)."
