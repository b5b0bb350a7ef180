"""The headers of compressed images.

A decoder believes its codestream, not the DICOM header: 200 bytes of JPEG 2000 may ask it for 16 GiB. So the two are
compared before any decoder runs.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from pydicom import Dataset
from pydicom.encaps import generate_fragments, generate_frames, get_frame, parse_basic_offsets, parse_fragments
from pydicom.uid import RLELossless

from gateway.dicom.reading.attributes import unreadable, value, whole
from gateway.dicom.reading.elements import is_implicit
from gateway.errors import StudyRefused

_EXPLICIT, _IMPLICIT = 12, 8
"""Bytes of (7FE0,0010), OB, two reserved and an undefined length (PS3.5 A.4); some files lack OB and those two."""

JPEG, LOSSLESS, JPEG_LS, JPEG_2000 = "JPEG", "JPEG Lossless", "JPEG-LS", "JPEG 2000"
_FRAME_HEADERS = {0xC0: JPEG, 0xC1: JPEG, 0xC2: JPEG, 0xC3: LOSSLESS, 0xF7: JPEG_LS}
"""Baseline, extended and progressive DCT, lossless (ISO 10918-1 table B.1), JPEG-LS (ISO 14495-1 C.2.2)."""
_LOOK = 64 << 10
"""Bytes of a fragment in which a codestream says what it is; marker segments before it are rarely longer."""
_RGB = (b"RGB", b"rgb")
_SIZ = struct.Struct(">4I16xH")
"""Xsiz, Ysiz, XOsiz, YOsiz, four numbers on tiles, and the number of components."""


class CodestreamHeader(NamedTuple):
    """The header of a codestream: its kind, size, components, bits of a sample, and sign.

    ``space`` is the colour space that it says to hold; "" where it does not, and the header decides.
    """

    kind: str
    rows: int
    columns: int
    components: int
    precision: int
    signed: bool = False
    space: str = ""


def codestreams(file: BinaryIO, header: Dataset, frame: int | None) -> list[bytes]:
    """The codestream of one frame, or those of all; ``file`` stands at (7FE0,0010). Raises StudyRefused."""
    size = _end(file)
    found, total = [], 0
    for codestream in _codestreams(file, header, frame):
        total += len(codestream)
        if total > size:
            raise StudyRefused("The frames of an image lie one over the other.")
        found.append(codestream)
    if frame is None and len(found) != (whole(header, "NumberOfFrames") or 1):
        raise StudyRefused("An image holds another number of frames than its header states.")
    return found


def _end(file: BinaryIO) -> int:
    at = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(at)
    return end


def _codestreams(file: BinaryIO, header: Dataset, frame: int | None) -> Iterable[bytes]:
    at = file.tell()
    file.seek(at + (_IMPLICIT if is_implicit(file.read(_EXPLICIT)) else _EXPLICIT))
    count = whole(header, "NumberOfFrames") or 1
    _refuse_uncounted(file, count, one_each=header.file_meta.TransferSyntaxUID == RLELossless)
    offsets, lengths = value(header, "ExtendedOffsetTable"), value(header, "ExtendedOffsetTableLengths")
    extended = (offsets, lengths) if offsets and lengths else None
    if frame is None:
        return generate_frames(file, number_of_frames=count, extended_offsets=extended)
    return [get_frame(file, frame, number_of_frames=count, extended_offsets=extended)]


def _refuse_uncounted(file: BinaryIO, count: int, *, one_each: bool) -> None:
    """Refuse more frames than are stated, by the Basic Offset Table (PS3.5 A.4), else by the fragments.

    A frame may lie in several fragments, but not where ``one_each`` says so (PS3.5 A.4.2), and a further codestream
    begins a further frame. The file is left where it stands.
    """
    at = file.tell()
    found = len(parse_basic_offsets(file))
    if not found:
        fragments = file.tell()
        found, _ = parse_fragments(file)
        if found > count and not one_each:
            file.seek(fragments)
            found = sum(announced(fragment[:_LOOK]) is not None for fragment in generate_fragments(file))
    file.seek(at)
    if found > count:
        raise unreadable("NumberOfFrames", f"states {count}, and compressed pixels of {found} frames are in the file")


def announced(codestream: bytes) -> CodestreamHeader | None:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 codestream; None where it is absent or of another kind."""
    try:
        if codestream.startswith(b"\xff\xd8"):
            return _jpeg(codestream)
        if codestream.startswith(b"\xff\x4f\xff\x51"):
            return _jpeg_2000(codestream, 0)
        if codestream[4:8] == b"jP  ":
            return _boxed_jpeg_2000(codestream)
    except (struct.error, IndexError):  # it ends within a header
        pass
    return None


def _jpeg(codestream: bytes) -> CodestreamHeader | None:
    """The frame header (ISO 10918-1 B.2.2, ISO 14495-1 C.2.2), found by walking the marker segments before it."""
    space = ""
    for marker, at in _segments(codestream):
        if marker == 0xE0 and codestream.startswith(b"JFIF", at + 4):
            space = "YBR_FULL"
        if (kind := _FRAME_HEADERS.get(marker)) is not None:
            precision, rows, columns, count = struct.unpack_from(">B2HB", codestream, at + 4)
            named = codestream[at + 10 : at + 10 + 3 * count : 3]
            return CodestreamHeader(kind, rows, columns, count, precision, space="RGB" if named in _RGB else space)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # tables, and one that is reserved
            return None
    return None


def _segments(codestream: bytes) -> Iterator[tuple[int, int]]:
    """Each marker before the image, and where it lies."""
    at = 2
    while codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if marker == 0xFF:  # a fill byte (B.1.1.2)
            at += 1
            continue
        yield marker, at
        at += 2 + int(struct.unpack_from(">H", codestream, at + 2)[0])


def _jpeg_2000(codestream: bytes, start: int) -> CodestreamHeader | None:
    """The SIZ marker segment, always the first (ISO 15444-1 A.5.1); None unless all components are alike."""
    right, bottom, left, top, count = _SIZ.unpack_from(codestream, start + 8)
    first = start + 8 + _SIZ.size
    components = {codestream[at : at + 3] for at in range(first, first + 3 * count, 3)}
    if len(components) != 1:
        return None
    depth, across, down = components.pop()
    if (across, down) != (1, 1):
        return None
    return CodestreamHeader(JPEG_2000, bottom - top, right - left, count, (depth & 0x7F) + 1, depth > 0x7F)


def _boxed_jpeg_2000(codestream: bytes) -> CodestreamHeader | None:
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
