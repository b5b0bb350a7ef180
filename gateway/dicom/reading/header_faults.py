"""The fault of a header that cannot be read, found by its elements alone: where it ends, or what no reader knows."""

from collections.abc import Iterator
from typing import BinaryIO

from pydicom.datadict import keyword_for_tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from gateway.dicom.reading.elements import UNDEFINED, CutOff, Element, Uncommon, element_at

LOOKED_AT = 1 << 20
"""Bytes of a broken file that are looked at; most headers take 20 KiB."""

_PREAMBLE = 132
_META, _SYNTAX, _PIXELS = 0x0002, 0x00020010, 0x7FE0
_NO_VR, _UNREAD = (
    ImplicitVRLittleEndian.encode(),
    {DeflatedExplicitVRLittleEndian.encode(), ExplicitVRBigEndian.encode()},
)


class _UnknownRepresentation(Exception):
    """An element whose two letters are no value representation (PS3.5 6.2); carries its tag."""


def explain(file: BinaryIO) -> str:
    """Return the fault of a Part 10 file (PS3.10 7.1) as the end of a sentence, without a value of the file."""
    file.seek(0)
    data = file.read(LOOKED_AT)
    last = None
    try:
        for last in _elements(data):
            if last.length != UNDEFINED and last.start + last.length > len(data):
                return f"is cut off within its header, in {named(last.tag)}"
    except _UnknownRepresentation as error:
        return f"has an element of no known value representation (PS3.5 6.2), {named(error.args[0])}"
    if last is None or last.tag >> 16 == _META:
        return "is broken or cut off before the first element of its data set"
    return f"is broken in its header, at or behind {named(last.tag)}"


def named(tag: int) -> str:
    """Return a tag with its keyword, where the standard has one."""
    return f"{keyword_for_tag(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})".strip()


def _elements(data: bytes) -> Iterator[Element]:
    """The elements from the file meta information to the pixels, or to where none can be told.

    That is a sequence without a length, and a data set that is deflated or in big endian.
    """
    at, syntax = _PREAMBLE, b""
    while True:
        group, number = (int.from_bytes(data[start : start + 2], "little") for start in (at, at + 2))
        is_meta = group == _META
        if not is_meta and syntax in _UNREAD:
            return
        try:
            element = element_at(data, at, implicit=not is_meta and syntax == _NO_VR)
        except CutOff:
            return
        except Uncommon:
            raise _UnknownRepresentation(group << 16 | number) from None
        yield element
        if group >= _PIXELS or element.length == UNDEFINED:
            return
        at = element.start + element.length
        if element.tag == _SYNTAX:
            syntax = data[element.start : at].rstrip(b"\0 ")
