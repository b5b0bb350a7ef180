"""What a compressed image says of its own size.

A decoder believes its codestream, not the DICOM header: 200 bytes of JPEG 2000 may ask it for 16 GiB. So the two are
compared before any decoder runs.
"""

import os
import struct
from collections.abc import Iterable
from typing import BinaryIO

from pydicom import Dataset
from pydicom.encaps import generate_frames, get_frame

from gateway.dicom.reading.attributes import value, whole
from gateway.errors import StudyRefused

_ELEMENT_HEADER = 12
"""Bytes of (7FE0,0010), OB, two reserved and an undefined length (PS3.5 A.4)."""

_NO_FRAME_HEADER = {0xC4, 0xC8, 0xCC}
"""Markers among FFC0 to FFCF that are tables or reserved (ISO 10918-1 table B.1)."""


def refuse_other_sizes(file: BinaryIO, header: Dataset, frame: int | None) -> None:
    """Refuse encapsulated pixels whose codestreams are not of Rows x Columns; ``file`` stands at (7FE0,0010)."""
    expected = whole(header, "Rows"), whole(header, "Columns")
    for codestream in _codestreams(file, header, frame):
        if size(codestream) != expected:
            raise StudyRefused("The compressed pixels of an image are not of the size that its header states.")


def _codestreams(file: BinaryIO, header: Dataset, frame: int | None) -> Iterable[bytes]:
    file.seek(_ELEMENT_HEADER, os.SEEK_CUR)
    count = whole(header, "NumberOfFrames") or 1
    offsets, lengths = value(header, "ExtendedOffsetTable"), value(header, "ExtendedOffsetTableLengths")
    extended = (offsets, lengths) if offsets and lengths else None
    if frame is None:
        return generate_frames(file, number_of_frames=count, extended_offsets=extended)
    return [get_frame(file, frame, number_of_frames=count, extended_offsets=extended)]


def size(codestream: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 codestream announces; None when it announces none."""
    if codestream.startswith(b"\xff\xd8"):
        return _jpeg(codestream)
    if codestream.startswith(b"\xff\x4f\xff\x51"):
        return _jpeg_2000(codestream, 0)
    if codestream[4:8] == b"jP  ":
        return _boxed_jpeg_2000(codestream)
    return None


def _jpeg(codestream: bytes) -> tuple[int, int] | None:
    """The frame header (ISO 10918-1 B.2.2, ISO 14495-1 C.2.2), found by walking the marker segments before it."""
    at = 2
    while at + 9 <= len(codestream) and codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if marker == 0xFF:  # a fill byte (B.1.1.2)
            at += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADER):
            rows, columns = struct.unpack_from(">2H", codestream, at + 5)
            return rows, columns
        else:
            at += 2 + int(struct.unpack_from(">H", codestream, at + 2)[0])
    return None


def _jpeg_2000(codestream: bytes, start: int) -> tuple[int, int] | None:
    """The SIZ marker segment, always the first (ISO 15444-1 A.5.1): Xsiz, Ysiz, XOsiz, YOsiz at byte 8."""
    if len(codestream) < start + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", codestream, start + 8)
    return bottom - top, right - left


def _boxed_jpeg_2000(codestream: bytes) -> tuple[int, int] | None:
    """The codestream in a JP2 file (ISO 15444-1 I.4), which some devices store although PS3.5 A.4.4 forbids it."""
    at = 0
    while at + 8 <= len(codestream):
        length, kind = struct.unpack_from(">I4s", codestream, at)
        if kind == b"jp2c":
            return _jpeg_2000(codestream, at + (16 if length == 1 else 8))
        if length < 8:
            return None
        at += length
    return None
