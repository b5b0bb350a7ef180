"""The metadata of a stored instance, and the large values that it has addresses for (PS3.18 10.4.1.1.2)."""

import re
from contextlib import suppress
from typing import BinaryIO

from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian

from gateway.dicom.reading.around_pixels import Outline, read_outline
from gateway.dicom.reading.attributes import text, whole
from gateway.dicom.reading.elements import PIXELS
from gateway.dicom.reading.files import refusing
from gateway.dicom.web.byte_order import to_little_endian
from gateway.dicom.web.frames import MEDIA_TYPES
from gateway.dicom.web.json_model import BULK_VRS, BulkAddress, JsonModel, json_model
from gateway.errors import StudyNotFound

PIXEL_PLACES = frozenset(f"{tag:08X}" for tag in PIXELS)
"""The places of pixels, which are decoded and sent frame by frame."""
MAX_DEPTH = 16
_PLACE = re.compile(rf"[0-9A-F]{{8}}(/[0-9]{{1,6}}/[0-9A-F]{{8}}){{0,{MAX_DEPTH}}}")
"""Tags, and the numbers of items between them, at most so deep."""
_FLOATS = {0x7FE00008: "OF", 0x7FE00009: "OD"}


def instance_model(file: BinaryIO, address: BulkAddress) -> JsonModel:
    """Return the JSON model of a file, its pixels by their address. Raises StudyRefused."""
    outline = _outline(file)
    model = json_model(outline.dataset, address)
    if outline.pixels is not None:
        place = f"{outline.pixels.tag:08X}"
        model[place] = {"vr": _pixel_vr(outline), "BulkDataURI": address(place)}
    return dict(sorted(model.items()))


def _outline(file: BinaryIO) -> Outline:
    """Read all but the pixels, binary values in little endian (PS3.18 F.2.7)."""
    outline = read_outline(file)
    if text(outline.dataset.file_meta, "TransferSyntaxUID") == ExplicitVRBigEndian:
        to_little_endian(outline.dataset)
    return outline


def _pixel_vr(outline: Outline) -> str:
    """Return the VR that the pixels state, else that of PS3.5 A.1 to A.4."""
    assert outline.pixels is not None
    if outline.vr in BULK_VRS - {"UN"}:
        return outline.vr
    header, tag = outline.dataset, outline.pixels.tag
    compressed = text(header.file_meta, "TransferSyntaxUID") in MEDIA_TYPES
    octets = compressed or (whole(header, "BitsAllocated") or 0) <= 8
    return _FLOATS.get(tag, "OB" if octets else "OW")


def bulk_value(file: BinaryIO, place: str) -> bytes:
    """Return the bytes of a value at its place but for the pixels, in little endian. Raises StudyNotFound."""
    if not _PLACE.fullmatch(place):
        raise _missing()
    with refusing("A DICOM header is broken and cannot be read."):
        dataset: Dataset = _outline(file).dataset
        *steps, last = place.split("/")
        with suppress(KeyError, IndexError, TypeError, AttributeError):
            for tag, number in zip(steps[::2], steps[1::2], strict=True):
                dataset = dataset[int(tag, 16)].value[int(number)]
            element = dataset[int(last, 16)]
            if element.VR in BULK_VRS and isinstance(element.value, bytes):
                return element.value
    raise _missing()


def _missing() -> StudyNotFound:
    return StudyNotFound("The instance has no such bulk data; its metadata has the addresses.")
