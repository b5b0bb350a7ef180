"""Headers at half of pydicom's price: the elements of a common file, found in one tight loop and left unconverted.

Whatever is not plain little endian from end to end (big endian, deflated, odd value representations, a header that is
cut short, endless or without pixels) is ``Uncommon``, and left to ``files.read_header``: strange files have one judge.
"""

import io
import struct
from collections.abc import Callable, Collection
from functools import cache, lru_cache
from typing import Any, BinaryIO, NamedTuple, TypeVar

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR
from pydicom.values import convert_string

from gateway.dicom.reading.files import read_header, refusing

WINDOWS = 32 << 10, 1 << 20
"""Bytes read of a file, at first and if they did not suffice: most headers take 5 to 20 KiB, some vendors' 200."""

PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, Double Float and integer Pixel Data (PS3.3 C.7.6.24, C.7.6.25, C.7.6.3)."""

_META, _TRANSFER_SYNTAX, _AFTER_META = 0x00020000, 0x00020010, 0x00030000
_CHARACTER_SET, _UNDEFINED = 0x00080005, 0xFFFFFFFF
_EMPTY = cache(empty_value_for_VR)
_KEY = lru_cache(4096)(BaseTag)  # bounded, since a file may hold any tags
_VRS = {vr.value.encode(): (vr.value, vr in EXPLICIT_VR_LENGTH_32) for vr in VR if len(vr) == 2}
_STANDARD, _IMPLICIT = b"1.2.840.10008.", ImplicitVRLittleEndian.encode()
_OTHER_ORDER = {DeflatedExplicitVRLittleEndian.encode(), ExplicitVRBigEndian.encode()}
_explicit, _implicit, _length = (struct.Struct(code).unpack_from for code in ("<HH2sH", "<HHL", "<L"))

Raw = dict[BaseTag, RawDataElement | DataElement]
Encoding = str | list[str]
T = TypeVar("T")


class Element(NamedTuple):
    """The place of an element: the first byte of its tag and of its value, and the size of the value (PS3.5 7.1)."""

    tag: int
    at: int
    start: int
    length: int


class Uncommon(Exception):
    """This file is for pydicom."""


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
        return {int(tag): one.value for tag, one in raw.items() if one.value and tag in tags}

    return _with_windows(file, look)


def _with_windows(file: BinaryIO, look: Callable[[bytes], T]) -> T:
    """The result of ``look`` on the start of a file, with as little of it as suffices."""
    for window in WINDOWS:
        file.seek(0)
        data = file.read(window)
        try:
            return look(data)
        except Uncommon:
            if len(data) < window:
                break
    raise Uncommon


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
    """Find the pixels in a file that is not deflated; None when there are none. Raises StudyRefused."""
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
    try:
        found = _scan(head, 0, 0, is_implicit(head))[1]
    except Uncommon:
        return None
    return Element(found.tag, at, at + found.start, found.length) if found.tag in PIXELS else None


def is_implicit(element: bytes) -> bool:
    """Return True if an element that begins with these bytes states no VR (PS3.5 7.1.3)."""
    return element[4:6] not in _VRS


def _pixels(data: bytes) -> Element:
    _, at, implicit = _after_meta(data)
    return _to_pixels(data, at, implicit, keep=())[1]


def _to_pixels(data: bytes, at: int, implicit: bool, *, keep: Collection[int] | None = None) -> tuple[Raw, Element]:
    raw, found = _scan(data, at, min(PIXELS), implicit, keep=keep)
    if found.tag not in PIXELS:
        raise Uncommon
    return raw, found


def _after_meta(data: bytes) -> tuple[Raw, int, bool]:
    """The file meta information (PS3.10 7.1), the byte after it, and whether the dataset is in implicit VR."""
    raw, first = _scan(data, 132, _AFTER_META, implicit=False)
    syntax = raw.get(_KEY(_TRANSFER_SYNTAX))
    if data[128:132] != b"DICM" or min(raw, default=0) < _META or syntax is None or syntax.VR != "UI":
        raise Uncommon
    name = (syntax.value or b"").rstrip(b"\0 ")
    if not name.startswith(_STANDARD) or name in _OTHER_ORDER:
        raise Uncommon
    implicit = name == _IMPLICIT
    if (data[first.at + 4 : first.at + 6] in _VRS) == implicit:
        raise Uncommon
    return raw, first.at, implicit


def _scan(
    data: bytes, at: int, stop: int, implicit: bool, *, keep: Collection[int] | None = None
) -> tuple[Raw, Element]:
    """The elements from ``at`` to the first of tag ``stop`` or above, and where that one lies.

    ``keep`` names those that are wanted, all where it is unset; sequences of undefined length come in any case.
    """
    raw: Raw = {}
    vr: str | None = None
    long = False
    try:
        while True:
            if implicit:
                group, number, length = _implicit(data, at)
            else:
                group, number, code, length = _explicit(data, at)
                vr, long = _VRS[code]
            start = at + 8
            if long:
                (length,) = _length(data, start)
                start += 4
            tag = group << 16 | number
            if tag >= stop:
                return raw, Element(tag, at, start, length)
            if length == _UNDEFINED:
                raw[_KEY(tag)], at = _undefined(data, at, implicit, _encoding(raw))
                continue
            at = start + length
            if at > len(data):
                raise Uncommon
            if keep is None or tag in keep:
                value: Any = data[start:at] if length else _EMPTY(vr, True)
                key = _KEY(tag)
                raw[key] = RawDataElement(key, vr, length, value, start, implicit, True)
    except (KeyError, struct.error):
        raise Uncommon from None


def _undefined(data: bytes, at: int, implicit: bool, encoding: Encoding) -> tuple[RawDataElement | DataElement, int]:
    """An element of undefined length (PS3.5 7.5.1), most often a sequence, and the byte after it."""
    file = io.BytesIO(data)
    file.seek(at)
    try:
        element = next(data_element_generator(file, implicit, True, encoding=encoding))
    except Exception as error:  # cut by the window, or broken: any of a dozen types
        raise Uncommon from error
    return element, file.tell()


def _encoding(raw: Raw) -> Encoding:
    found = raw.get(_KEY(_CHARACTER_SET))
    if found is None:
        return default_encoding
    return convert_encodings(convert_string(found.value or b"", True))
