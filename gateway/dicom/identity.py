"""Which instance a file is, by the first of its attributes alone."""

from typing import BinaryIO, NamedTuple

from gateway.dicom import encoded
from gateway.dicom.files import opened, read_header, refusing
from gateway.dicom.headers import Uncommon, read_until

_AFTER_SERIES_INSTANCE_UID = 0x0020000F


class Identity(NamedTuple):
    """The UIDs of an instance, "" where one is absent (PS3.3 C.12.1, C.7.3.1, C.7.2.1)."""

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


def identify(file: BinaryIO) -> Identity:
    """The UIDs in a Part 10 file. Raises NotAnInstance, StudyRefused, LimitExceeded as ``files.read_header``."""
    with opened(file), refusing("A DICOM header is broken and cannot be read."):
        try:
            header = read_until(file, _AFTER_SERIES_INSTANCE_UID)
        except Uncommon:
            header = read_header(file)
        uids = (encoded.uid(header, name) for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"))
        return Identity(*uids)
