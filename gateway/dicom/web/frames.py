"""Single frames of a stored image: decoded, or as their codestreams (PS3.18 10.4, 8.7.3)."""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import BinaryIO

import numpy as np

from gateway.dicom.decoding.codestreams import codestreams
from gateway.dicom.decoding.compressed import KINDS
from gateway.dicom.decoding.pixels import decode
from gateway.dicom.decoding.stored import read_frame
from gateway.dicom.reading.attributes import text, unreadable
from gateway.dicom.reading.deflated import inflated
from gateway.dicom.reading.elements import Element
from gateway.dicom.reading.fast_headers import find_pixels
from gateway.dicom.reading.files import opened
from gateway.dicom.reading.frame_counts import stated_size
from gateway.dicom.reading.instances import Instance, read_instance
from gateway.dicom.web.transcoding import stored_syntax
from gateway.errors import NotAcceptable, StudyNotFound, StudyRefused

MEDIA_TYPES = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
}
"""The media type of a codestream by its transfer syntax (PS3.18 8.7.3.3)."""
_LITTLE_ENDIAN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
PIECE = 256 << 10


def _too_short() -> StudyRefused:
    return unreadable("PixelData", "is shorter than Rows, Columns, Bits Allocated and Number of Frames state")


def _bytes_of(file: BinaryIO, pixels: Element) -> int:
    """Return the bytes of pixels that are in the file, which may be cut off; the end of a deflated one is unknown."""
    with suppress(io.UnsupportedOperation):
        return min(pixels.length, file.seek(0, io.SEEK_END) - pixels.start)
    return pixels.length


def pixel_value(file: BinaryIO) -> tuple[int, Iterator[bytes]]:
    """Return the length of all pixels, and their bytes in pieces: as they are stored, or decoded frame by frame.

    Raises NotAcceptable for an instance without pixels, StudyRefused for a broken one.
    """
    if stored_syntax(file) not in _LITTLE_ENDIAN:
        return StoredImage(file).all_decoded()
    source = inflated(file)
    pixels = find_pixels(source)
    if pixels is None:
        raise NotAcceptable("The instance has no pixels.")
    if _bytes_of(source, pixels) < pixels.length:
        raise _too_short()
    return pixels.length, _pieces(source, pixels)


def _pieces(source: BinaryIO, pixels: Element) -> Iterator[bytes]:
    source.seek(pixels.start)
    for place in range(0, pixels.length, PIECE):
        yield source.read(min(PIECE, pixels.length - place))


class StoredImage:
    """An image in an open file. Frames count from 0 here."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises NotAcceptable for an instance without pixels, StudyRefused for a broken one."""
        self._file = file
        self.instance: Instance = read_instance(file)
        self.frames = self.instance.frames
        self.syntax = text(self.instance.header.file_meta, "TransferSyntaxUID")
        if not self.frames:
            raise NotAcceptable("The instance is no image: it has no frames and cannot be drawn.")

    def check(self, numbers: Sequence[int]) -> None:
        """Raise StudyNotFound for a frame that the image lacks."""
        if not all(0 <= number < self.frames for number in numbers):
            raise StudyNotFound(f"The image has frames 1 to {self.frames}.")

    @property
    def media_type(self) -> str:
        """The media type of its codestreams, "" for an uncompressed image and for an unknown codec."""
        return MEDIA_TYPES.get(self.syntax, "")

    def decoded(self, number: int) -> bytes:
        """Return the stored values of a frame in little endian, as its header describes them.

        Compressed colour is decoded to RGB, by pixel. Raises StudyRefused.
        """
        if self.syntax in _LITTLE_ENDIAN:
            return self._native(number)
        if self.syntax in KINDS:
            values = read_frame(self.instance, number)
        else:
            values = decode(self._file, number if self.frames > 1 else None)
        return values.astype(values.dtype.newbyteorder("<")).tobytes()

    def all_decoded(self) -> tuple[int, Iterator[bytes]]:
        """Return the length of the values of all frames, and their bytes in pieces. Raises StudyRefused."""
        first = self.decoded(0)
        return len(first) * self.frames, chain([first], map(self.decoded, range(1, self.frames)))

    def codestream(self, number: int) -> bytes:
        """Return the codestream of a frame. Raises StudyRefused."""
        with opened(self._file) as file:
            pixels = self.instance.pixels or find_pixels(file)
            if pixels is None:
                raise unreadable("PixelData", "is missing")
            file.seek(pixels.at)
            return codestreams(file, self.instance.header, number)[0]

    def _native(self, number: int) -> bytes:
        """Cut a frame from uncompressed pixels, whose frames follow each other without padding (PS3.5 8.1.1)."""
        header = self.instance.header
        with opened(self._file) as opened_file:
            file = inflated(opened_file)
            pixels = find_pixels(file)
            total, before = (stated_size(header, count) for count in (number + 1, number))
            if pixels is None or not total or _bytes_of(file, pixels) < stated_size(header, self.frames):
                raise _too_short()
            if header.BitsAllocated == 1:
                return self._bits(file, pixels.start, number)
            file.seek(pixels.start + before)
            return file.read(total - before)

    def _bits(self, file: BinaryIO, start: int, number: int) -> bytes:
        """Cut a frame of single bits that may begin within a byte, and pack it again (PS3.5 8.1.1, figure 8.1.1-4)."""
        count = self.instance.rows * self.instance.columns
        first, last = number * count // 8, -(-(number + 1) * count // 8)
        file.seek(start + first)
        unpacked = np.unpackbits(np.frombuffer(file.read(last - first), np.uint8), bitorder="little")
        offset = number * count - first * 8
        return np.packbits(unpacked[offset : offset + count], bitorder="little").tobytes()
