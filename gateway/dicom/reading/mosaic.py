"""Siemens mosaics: the slices of one time point side by side in one image, whose position is that of none of them.

Siemens' MR Conformance Statements describe the private elements of "SIEMENS MR HEADER".
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydicom import Dataset

from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.raw_values import encoded
from gateway.dicom.reading.redaction import naming
from gateway.errors import StudyRefused

if TYPE_CHECKING:
    from gateway.dicom.reading.instances import Instance

REFUSAL = (
    "A Siemens mosaic holds several slices side by side in one image, and its position is that of none of them"
    " (MOSAIC in ImageType (0008,0008), or (0019,100A) NumberOfImagesInMosaic). Convert the series to an Enhanced MR"
    " image or to one image a slice and send that, or use a model of images."
)

_CREATOR, _COUNT, _PRIVATE = b"SIEMENS MR HEADER", 0x0A, 0x0019
_MR = "1.2.840.10008.5.1.4.1.1.4"
"""MR Image Storage. An Enhanced MR image that was made of a mosaic may keep its Image Type, and has a place a frame."""


def is_mosaic(header: Dataset) -> bool:
    """Return True if the one image of an instance holds several slices."""
    stated = encoded(header, "ImageType") or text(header, "ImageType").encode()
    return (b"MOSAIC" in stated or _counts_slices(header)) and not _places_frames(header)


def refuse(instances: "Iterable[Instance]") -> None:
    """Raise StudyRefused for the first mosaic, by its digest."""
    for instance in instances:
        if is_mosaic(instance.header):
            with naming(instance.source):
                raise StudyRefused(REFUSAL, private="mosaic")


def _places_frames(header: Dataset) -> bool:
    return text(header, "SOPClassUID") != _MR and "PerFrameFunctionalGroupsSequence" in header


def _counts_slices(header: Dataset) -> bool:
    """Return True if NumberOfImagesInMosaic states more than one, in the block of group 0019 that Siemens reserved."""
    block = _PRIVATE << 16
    for number in range(0x10, 0x100):
        creator: Any = header.get_item(block | number)
        if creator is None:
            break
        raw = creator.value if isinstance(creator.value, bytes) else str(creator.value).encode()
        count: Any = header.get_item(block | number << 8 | _COUNT)
        if raw.strip() == _CREATOR and count is not None:
            return _more_than_one(count.value)
    return False


def _more_than_one(stated: object) -> bool:
    """A US in explicit VR, two bytes where the VR is unknown, digits where it was written as IS."""
    if isinstance(stated, bytes):
        digits = stated.strip(b" \0")
        return int(digits) > 1 if digits.isdigit() else int.from_bytes(stated, "little") > 1
    return str(stated).strip().isdigit() and int(str(stated)) > 1
