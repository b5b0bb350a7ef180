"""The metadata of a stored instance, and the large values that it has addresses for (PS3.18 10.4.1.1.2)."""

import re
from contextlib import suppress
from typing import BinaryIO

from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from gateway.dicom.reading.attributes import text, whole
from gateway.dicom.reading.deflated import inflated
from gateway.dicom.reading.fast_headers import find_pixels, pixels_at
from gateway.dicom.reading.files import opened, read_header, refusing
from gateway.dicom.web.frames import MEDIA_TYPES
from gateway.dicom.web.json_model import BULK_VRS, BulkAddress, JsonModel, json_model
from gateway.errors import NotAcceptable, StudyNotFound

PIXEL_DATA = "7FE00010"
MAX_DEPTH = 16
_PLACE = re.compile(rf"[0-9A-F]{{8}}(/[0-9]{{1,6}}/[0-9A-F]{{8}}){{0,{MAX_DEPTH}}}")
"""Tags, and the numbers of items between them, at most so deep."""


def instance_model(file: BinaryIO, address: BulkAddress) -> JsonModel:
    """Return the JSON model of a file, its pixels by their address. Raises StudyRefused."""
    with opened(file):
        header = read_header(file)
        has_pixels = _has_pixels(file, header)
    model = json_model(header, address)
    if has_pixels:
        model[PIXEL_DATA] = {"vr": _pixel_vr(header), "BulkDataURI": address(PIXEL_DATA)}
    return model


def _has_pixels(file: BinaryIO, header: Dataset) -> bool:
    """Return True if Pixel Data is where ``read_header`` stopped, or in the twin of a deflated file."""
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax == ExplicitVRBigEndian:
        return file.read(4).hex().upper() == PIXEL_DATA
    pixels = find_pixels(inflated(file)) if syntax == DeflatedExplicitVRLittleEndian else pixels_at(file, header)
    return pixels is not None and f"{pixels.tag:08X}" == PIXEL_DATA


def _pixel_vr(header: Dataset) -> str:
    """PS3.5 A.1 to A.4."""
    compressed = text(header.file_meta, "TransferSyntaxUID") in MEDIA_TYPES
    return "OB" if compressed or (whole(header, "BitsAllocated") or 0) <= 8 else "OW"


def bulk_value(file: BinaryIO, place: str) -> bytes:
    """Return the bytes of a value at its place, little endian. Raises StudyNotFound, NotAcceptable."""
    if not _PLACE.fullmatch(place):
        raise _missing()
    with opened(file), refusing("A DICOM header is broken and cannot be read."):
        dataset = read_header(file)
        if dataset.file_meta.get("TransferSyntaxUID") == ExplicitVRBigEndian:
            raise NotAcceptable("The instance is stored in big endian, and its values are sent in little endian alone.")
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
