"""The identity of an instance, by the first of its attributes alone."""

from typing import BinaryIO, NamedTuple

from gateway.dicom.reading import raw_values
from gateway.dicom.reading.elements import Uncommon
from gateway.dicom.reading.fast_headers import read_values
from gateway.dicom.reading.files import opened, read_header, refusing

_TAGS = 0x00080018, 0x0020000E, 0x0020000D


class Identity(NamedTuple):
    """The UIDs of an instance, "" where one is absent (PS3.3 C.12.1, C.7.3.1, C.7.2.1)."""

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


def identify(file: BinaryIO) -> Identity:
    """The UIDs in a Part 10 file. Raises NotAnInstance, StudyRefused, LimitExceeded as ``files.read_header``."""
    with opened(file), refusing("A DICOM header is broken and cannot be read."):
        try:
            return Identity(*_plainly(file))
        except Uncommon:
            header = read_header(file)
            uids = (
                raw_values.uid(header, name) for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
            )
            return Identity(*uids)


def _plainly(file: BinaryIO) -> list[str]:
    elements = read_values(file, _TAGS, "UI")
    values = [elements.get(tag, b"") for tag in _TAGS]
    if any(b"\\" in value or not value.isascii() for value in values):
        raise Uncommon
    return [value.rstrip(b"\0 ").decode() for value in values]
