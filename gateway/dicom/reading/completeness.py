"""Whether a file has all the pixels that it states, by their lengths alone."""

import io
import struct
from contextlib import suppress
from typing import BinaryIO

from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from gateway.dicom.reading import fast_headers
from gateway.dicom.reading.elements import PIXELS, UNDEFINED, Element, Uncommon
from gateway.dicom.reading.files import opened
from gateway.dicom.reading.raw_values import uid
from gateway.errors import GatewayError

MOST_FRAGMENTS = 65_536
"""Fragments that are looked at, where others follow the pixels: two system calls each."""
_HEAD = struct.Struct("<HHL")
"""Tag and length of an item."""
_ITEM, _DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


def is_cut_off(file: BinaryIO) -> bool:
    """Return True if a Part 10 file ends within its pixels, False where that is not known."""
    with opened(file), suppress(Uncommon, GatewayError):
        return ends_within(file, *fast_headers.read(file))
    return False


def ends_within(file: BinaryIO, header: Dataset, pixels: Element) -> bool:
    """Return True if a file ends within ``pixels``; the length of deflated ones is not known.

    Of compressed pixels the fragments are looked at, and not what is in them: a codestream may lack its last marker.
    """
    if pixels.tag not in PIXELS or uid(header.file_meta, "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return False
    size = file.seek(0, io.SEEK_END)
    if pixels.length != UNDEFINED:
        return size < pixels.start + pixels.length
    return not _ends_with_delimiter(file, size) and _ends_within_fragments(file, pixels.start, size)


def _ends_with_delimiter(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - _HEAD.size))
    return file.read(_HEAD.size) == _HEAD.pack(*_DELIMITER, 0)


def _ends_within_fragments(file: BinaryIO, at: int, size: int) -> bool:
    """Return True if a file ends before the delimiter of its fragments (PS3.5 A.4), False where that is not known."""
    for _ in range(MOST_FRAGMENTS):
        file.seek(at)
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return True
        group, number, length = _HEAD.unpack(head)
        if (group, number) != _ITEM or length == UNDEFINED:
            return False
        at += _HEAD.size + length
        if at > size:
            return True
    return False
