"""Whether a file has all the pixels that it states, by their length alone."""

import io
from contextlib import suppress
from typing import BinaryIO

from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from gateway.dicom.reading import fast_headers
from gateway.dicom.reading.elements import PIXELS, UNDEFINED, Element, Uncommon
from gateway.dicom.reading.files import opened
from gateway.dicom.reading.raw_values import uid
from gateway.errors import GatewayError


def is_cut_off(file: BinaryIO) -> bool:
    """Return True if a Part 10 file ends within its uncompressed pixels, False where that is not known."""
    with opened(file), suppress(Uncommon, GatewayError):
        return ends_within(file, *fast_headers.read(file))
    return False


def ends_within(file: BinaryIO, header: Dataset, pixels: Element) -> bool:
    """Return True if a file ends within ``pixels``; the length of encapsulated and deflated ones is not known."""
    deflated = uid(header.file_meta, "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    known = pixels.tag in PIXELS and pixels.length != UNDEFINED and not deflated
    return known and file.seek(0, io.SEEK_END) < pixels.start + pixels.length
