"""Headers at half of pydicom's price: the elements of a common file, found in one tight loop and left unconverted.

Whatever is not plain little endian from end to end (big endian, odd value representations, a header that is cut short
or without pixels) is ``Uncommon``, and left to ``files.read_header``: strange files have one judge.
"""

import struct
from collections.abc import Callable, Collection
from functools import cache, lru_cache
from typing import Any, BinaryIO, TypeVar

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.values import convert_string

from gateway.contract.requests import reserve
from gateway.dicom.reading.attributes import unreadable
from gateway.dicom.reading.deflated import InflatedFile, inflated
from gateway.dicom.reading.elements import (
    EXPLICIT,
    IMPLICIT,
    LENGTH,
    PIXELS,
    UNDEFINED,
    VRS,
    CutOff,
    Element,
    Uncommon,
    element_at,
    is_implicit,
    seems_explicit,
    undefined_at,
)
from gateway.dicom.reading.files import read_header, refusing
from gateway.errors import StudyRefused

WINDOWS = 32 << 10, 1 << 20, 32 << 20
"""Bytes read of a file, at first and if they did not suffice: most headers take 5 to 20 KiB, some vendors' 200."""

_META_BYTES = 2 << 10
"""Bytes that hold the file meta information of most files: it takes 300."""
_META, _TRANSFER_SYNTAX, _AFTER_META = 0x00020000, 0x00020010, 0x00030000
_CHARACTER_SET = 0x00080005
_EMPTY = cache(empty_value_for_VR)
_KEY = lru_cache(4096)(BaseTag)  # bounded, since a file may hold any tags
_STANDARD, _IMPLICIT = b"1.2.840.10008.", ImplicitVRLittleEndian.encode()
_DEFLATED, _BIG_ENDIAN = DeflatedExplicitVRLittleEndian.encode(), ExplicitVRBigEndian.encode()

Raw = dict[BaseTag, RawDataElement | DataElement]
Encoding = str | list[str]
T = TypeVar("T")


def read(file: BinaryIO) -> tuple[Dataset, Element]:
    """The header of a Part 10 file as ``dcmread(stop_before_pixels=True)`` gives it, and where its pixels lie.

    Raises Uncommon.
    """
    return _with_windows(file, _read)


def read_values(file: BinaryIO, tags: Collection[int], vr: str) -> dict[int, bytes]:
    """The values of a few elements of a Part 10 file as they lie there, what is absent or empty left out.

    All are of one value representation. Raises Uncommon, also for one that is of another.
    """

    def look(data: bytes) -> dict[int, bytes]:
        _, at, implicit = _after_meta(data)
        raw, _ = _scan(data, at, max(tags) + 1, implicit, keep=tags)
        if any(one.VR not in (vr, None) for one in raw.values()):
            raise Uncommon
        return {int(tag): one.value for tag, one in raw.items() if one.value}

    return _with_windows(file, look)


def read_transfer_syntax(file: BinaryIO) -> str:
    """The UID of the transfer syntax that the file meta information states (PS3.10 7.1). Raises Uncommon."""
    raw, _ = _scan(_start(file, _META_BYTES), 132, _AFTER_META, implicit=False, keep=(_TRANSFER_SYNTAX,))
    syntax = raw.get(_KEY(_TRANSFER_SYNTAX))
    value = syntax.value if syntax is not None and syntax.VR == "UI" else None
    if not isinstance(value, bytes) or not value.isascii():
        raise Uncommon
    return value.rstrip(b"\0 ").decode()


def _with_windows(file: BinaryIO, look: Callable[[bytes], T]) -> T:
    """The result of ``look`` on the start of a file, with as little of it as suffices.

    Raises StudyRefused for a sequence that does not end in the file: pydicom would make an object of each of its items
    before it says so.
    """
    for window in WINDOWS:
        data = _start(file, window)
        if _DEFLATED in data and not isinstance(file, InflatedFile):
            file = inflated(file)
            data = _start(file, window)
        try:
            return look(data)
        except CutOff as cut:
            if len(data) == window:
                continue
            if cut.in_sequence:
                raise StudyRefused("A DICOM file is cut off within a sequence of its header.") from None
            break
    raise Uncommon


def _start(file: BinaryIO, size: int) -> bytes:
    """The first ``size`` bytes of a file, or all; what is inflated counts as memory made from the request."""
    file.seek(0)
    data = file.read(size)
    if isinstance(file, InflatedFile):
        reserve(len(data))
    return data


def _read(data: bytes) -> tuple[Dataset, Element]:
    meta, at, implicit = _after_meta(data)
    raw, pixels = _to_pixels(data, at, implicit)
    if not raw:
        raise Uncommon
    header = Dataset(raw)
    header.set_original_encoding(implicit, True, _encoding(raw))
    header.file_meta = FileMetaDataset(meta)
    return header, pixels


def find_pixels(file: BinaryIO) -> Element | None:
    """Find the pixels in a file, in the twin of a deflated one; None when there are none. Raises StudyRefused."""
    with refusing("A DICOM header is broken and cannot be read."):
        try:
            found = _with_windows(file, _pixels)
        except Uncommon:
            return pixels_at(file, read_header(file))
    return found if found.tag in PIXELS else None


def pixels_at(file: BinaryIO, header: Dataset) -> Element | None:
    """The pixels of a little-endian file that stands where ``read_header`` stopped; None when there are none there.

    Some files state one transfer syntax and are written in the other, so the element itself says in which it is: as a
    length, each VR of pixels would be an odd number, which PS3.5 7.1 forbids.
    """
    if header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return None
    at = file.tell()
    head = file.read(12)
    if not _reads_implicit(header) and is_implicit(head) and head[4:6].isalpha():
        raise unreadable("PixelData", "has no known value representation (PS3.5 6.2)")
    try:
        found = element_at(head, 0, is_implicit(head))
    except Uncommon:
        return None
    return Element(found.tag, at, at + found.start, found.length) if found.tag in PIXELS else None


def _reads_implicit(header: Dataset) -> bool:
    """Return True if the data set was read without VRs, whatever its transfer syntax states."""
    return any(element.is_implicit_VR for element in header.values() if isinstance(element, RawDataElement))


def _pixels(data: bytes) -> Element:
    _, at, implicit = _after_meta(data)
    return _to_pixels(data, at, implicit, keep=())[1]


def _to_pixels(data: bytes, at: int, implicit: bool, *, keep: Collection[int] | None = None) -> tuple[Raw, Element]:
    raw, end = _scan(data, at, min(PIXELS), implicit, keep=keep)
    pixels = element_at(data, end, implicit)
    if pixels.tag not in PIXELS:
        raise Uncommon
    return raw, pixels


def _after_meta(data: bytes) -> tuple[Raw, int, bool]:
    """The file meta information (PS3.10 7.1), the byte after it, and whether the dataset is in implicit VR."""
    raw, end = _scan(data, 132, _AFTER_META, implicit=False)
    syntax = raw.get(_KEY(_TRANSFER_SYNTAX))
    if data[128:132] != b"DICM" or min(raw, default=0) < _META or syntax is None or syntax.VR != "UI":
        raise Uncommon
    name = (syntax.value or b"").rstrip(b"\0 ")
    if not name.startswith(_STANDARD) or name == _BIG_ENDIAN:
        raise Uncommon
    implicit = name == _IMPLICIT
    if seems_explicit(data, end) == implicit:
        raise Uncommon
    return raw, end, implicit


def _scan(data: bytes, at: int, stop: int, implicit: bool, *, keep: Collection[int] | None = None) -> tuple[Raw, int]:
    """The elements from ``at`` to the first of tag ``stop`` or above, and the byte at which that one begins.

    ``keep`` names those that are wanted, all where it is unset. Raises Uncommon, CutOff.
    """
    # Every element of every slice passes here: one loop without calls costs half of pydicom's generator. Values stay
    # bytes, and most are never converted. The tag is compared before the VR is looked up, since what follows the meta
    # information may have none; an element without a VR has None here, and pydicom finds it in its dictionary when
    # the value is used.
    raw: Raw = {}
    vr: str | None = None
    try:
        while True:
            if implicit:
                group, number, length = IMPLICIT(data, at)
            else:
                group, number, code, length = EXPLICIT(data, at)
            tag = group << 16 | number
            if tag >= stop:
                return raw, at
            start = at + 8
            if not implicit:
                vr, long = VRS[code]
                if long:  # two reserved bytes, then the length (PS3.5 7.1.2)
                    (length,) = LENGTH(data, start)
                    start += 4
            if length == UNDEFINED:
                element, at = undefined_at(data, Element(tag, at, start, length), vr, implicit)
                if keep is None or tag in keep:
                    raw[element.tag] = element
                continue
            at = start + length
            if at > len(data):
                raise CutOff
            if keep is None or tag in keep:
                value: Any = data[start:at] if length else _EMPTY(vr, True)
                key = _KEY(tag)
                raw[key] = RawDataElement(key, vr, length, value, start, implicit, True)
    except KeyError:
        raise Uncommon from None
    except struct.error:
        raise CutOff from None


def _encoding(raw: Raw) -> Encoding:
    found = raw.get(_KEY(_CHARACTER_SET))
    if found is None:
        return default_encoding
    return convert_encodings(convert_string(found.value or b"", True))
