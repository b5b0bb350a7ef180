"""A data set without its pixels: what stands before them, and what stands after them, such as trailing padding."""

from contextlib import suppress
from struct import Struct
from typing import BinaryIO, NamedTuple, cast

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRBigEndian

from gateway.dicom.reading.attributes import whole
from gateway.dicom.reading.deflated import MAX_INFLATED_BYTES, MAX_INFLATED_HEADER_BYTES, InflatedFile, inflated
from gateway.dicom.reading.elements import PIXELS, UNDEFINED, Element, is_implicit
from gateway.dicom.reading.files import opened, read_header, refusing
from gateway.dicom.reading.frame_counts import stated_size
from gateway.dicom.reading.watched_file import WatchedFile

_LITTLE, _BIG = Struct("<HHL"), Struct(">HHL")
_ITEM = (0xFFFE, 0xE000)


class Outline(NamedTuple):
    """A data set without its pixels, where these lie in its file, inflated, and the VR that they state; "" for none."""

    dataset: Dataset
    pixels: Element | None = None
    vr: str = ""


def read_outline(file: BinaryIO) -> Outline:
    """Read a Part 10 file but for its pixels; what follows them is left out where it cannot be read.

    Raises as ``read_header``.
    """
    with opened(file), refusing("A DICOM header is broken and cannot be read."):
        source = inflated(file)
        header = read_header(source)
        order = _BIG if header.file_meta.get("TransferSyntaxUID") == ExplicitVRBigEndian else _LITTLE
        at, head = source.tell(), source.read(12)
        if len(head) < 8 or (tag := _tag(order, head)) not in PIXELS:
            return Outline(header)
        implicit = is_implicit(head)
        length = order.unpack(head[:8] if implicit else head[:4] + head[8:])[2]
        pixels = Element(tag, at, at + (8 if implicit else 12), length)
        header.update(_after(source, header, pixels, order, implicit))
        return Outline(header, pixels, "" if implicit else head[4:6].decode())


def _tag(order: Struct, head: bytes) -> int:
    group, number, _ = order.unpack(head[:8])
    return int(group << 16 | number)


def _after(source: BinaryIO, header: Dataset, pixels: Element, order: Struct, implicit: bool) -> Dataset:
    watched = WatchedFile(source)
    if isinstance(source, InflatedFile):
        most = MAX_INFLATED_HEADER_BYTES + stated_size(header, whole(header, "NumberOfFrames") or 1)
        source.limit("MAX_INFLATED_BYTES", min(MAX_INFLATED_BYTES, most))
    rest = Dataset()
    with suppress(Exception):  # pydicom raises any of a dozen types on hostile bytes
        _skip(watched, pixels, order)
        read = read_dataset(
            cast(BinaryIO, watched), implicit, order is _LITTLE, stop_when=lambda tag, vr, length: tag <= pixels.tag
        )
        rest = Dataset({tag: one for tag, one in read.items() if _is_whole(one)})
    watched.judge()
    return rest


def _skip(watched: WatchedFile, pixels: Element, order: Struct) -> None:
    """Go to the byte after the pixels; encapsulated ones are items up to a delimiter (PS3.5 A.4)."""
    watched.seek(pixels.start)
    if pixels.length != UNDEFINED:
        watched.seek(pixels.length, 1)
        return
    while True:
        *tag, length = order.unpack(watched.read(8))
        if tuple(tag) != _ITEM:
            return
        watched.seek(length, 1)


def _is_whole(element: object) -> bool:
    """Return False for an element that the end of the file cuts off, which pydicom does not report."""
    return not isinstance(element, RawDataElement) or element.length in (UNDEFINED, len(element.value or b""))
