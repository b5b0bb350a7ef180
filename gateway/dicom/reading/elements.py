"""Data elements as they lie in bytes: where one begins and ends, in explicit or implicit VR (PS3.5 7.1).

All of it is little endian.
"""

import struct
from typing import NamedTuple

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

MAX_DEPTH = 64
"""Sequences and items within each other; the content of a structured report has twenty."""

PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, Double Float and integer Pixel Data (PS3.3 C.7.6.24, C.7.6.25, C.7.6.3)."""

UNDEFINED = 0xFFFFFFFF
"""The length of an element that ends at a delimiter (PS3.5 7.1.1)."""

VRS = {vr.value.encode(): (vr.value, vr in EXPLICIT_VR_LENGTH_32) for vr in VR if len(vr) == 2}
"""Each VR as it is written, as pydicom calls it, and whether four bytes of length follow it."""

EXPLICIT, IMPLICIT, LENGTH = (struct.Struct(code).unpack_from for code in ("<HH2sH", "<HHL", "<L"))
"""Group and number, then the VR and a short length; the same with a long length; a long length alone."""

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_ITEM_BYTES, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


class Element(NamedTuple):
    """The place of an element: the first byte of its tag and of its value, and the size of the value."""

    tag: int
    at: int
    start: int
    length: int


class Uncommon(Exception):
    """This file is for pydicom."""


class CutOff(Uncommon):
    """The bytes end within an element, perhaps within a sequence."""

    def __init__(self, *, in_sequence: bool = False) -> None:
        super().__init__()
        self.in_sequence = in_sequence


def is_implicit(element: bytes) -> bool:
    """Return True if an element that begins with these bytes states no VR (PS3.5 7.1.3)."""
    return element[4:6] not in VRS


def seems_explicit(data: bytes, at: int) -> bool:
    """Return True if pydicom takes the element at ``at`` for one with a VR: two capitals, even if they are no VR."""
    return len(data) > at + 5 and all(0x41 <= byte <= 0x5A for byte in data[at + 4 : at + 6])


def element_at(data: bytes, at: int, implicit: bool) -> Element:
    """The place of the element that begins at ``at``. Raises Uncommon, CutOff."""
    try:
        group, number, length = IMPLICIT(data, at)
        start = at + 8
        if not implicit:
            long = VRS[data[at + 4 : at + 6]][1]
            length, start = (LENGTH(data, start)[0], start + 4) if long else (length >> 16, start)
    except KeyError:
        raise Uncommon from None
    except struct.error:
        raise CutOff from None
    return Element(group << 16 | number, at, start, length)


def undefined_at(data: bytes, element: Element, vr: str | None, implicit: bool) -> tuple[RawDataElement, int]:
    """An element of undefined length (PS3.5 7.5.1), its items left as bytes, and the byte after its delimiter.

    Raises Uncommon, CutOff.
    """
    end = _skip_items(data, element.start, implicit)
    value = data[element.start : end - len(_DELIMITER)]
    vr = _vr_of_items(element.tag, value) if vr is None else "SQ" if vr == "UN" else vr
    if vr != "SQ" and _DELIMITER[:4] in value:  # there pydicom would end it
        raise Uncommon
    return RawDataElement(BaseTag(element.tag), vr, UNDEFINED, value, element.start, implicit, True), end


def _vr_of_items(tag: int, value: bytes) -> str | None:
    """The VR of an element that states neither VR nor length, as pydicom finds it (PS3.5 6.2.2)."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "SQ" if (value or _DELIMITER).startswith(_ITEM_BYTES) else None


def _skip_items(data: bytes, at: int, implicit: bool) -> int:
    """The byte after the delimiter of a sequence of undefined length whose items begin at ``at`` (PS3.5 7.5).

    Raises Uncommon where the sequence is malformed or nested deeper than ``MAX_DEPTH``.
    """
    # pydicom would make an object of each item, at fifty times the price, and few sequences are ever used. Levels are
    # a list and no recursion, so that their number is ours to bound. Each says whether items or elements come next,
    # and whether these have no VR: an item in explicit VR may hold elements in implicit VR (PS3.5 6.2.2).
    levels = [(True, implicit)]
    try:
        while levels:
            items, implicit = levels[-1]
            element = element_at(data, at, implicit=True)  # items and delimiters have no VR
            if element.tag == (_SEQUENCE_END if items else _ITEM_END):
                levels.pop()
                at = element.start
                continue
            if not items:
                element = element_at(data, at, implicit)
            elif element.tag != _ITEM:
                raise Uncommon
            if element.length != UNDEFINED:
                at = element.start + element.length
                continue
            at = element.start
            levels.append((not items, implicit or items and not seems_explicit(data, at)))
            if len(levels) > MAX_DEPTH:
                raise Uncommon
    except CutOff:
        raise CutOff(in_sequence=True) from None
    return at
