"""The stored values of one instance, by the shortest way to them.

Plain little-endian pixels are taken from the bytes of their part without pydicom's machinery; JPEG 2000 goes to the
OpenJPEG in Pillow, which decodes one image with several threads; all else goes to ``pixels.decode``.
"""

import os
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEG2000, UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from gateway.dicom.decoding.codestreams import refuse_other_sizes
from gateway.dicom.decoding.pixels import decode
from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.encoded import short
from gateway.dicom.reading.files import opened
from gateway.dicom.reading.headers import find_pixels
from gateway.dicom.reading.instances import Instance
from gateway.errors import StudyRefused

Stored = NDArray[np.generic]

_PIXEL_DATA = 0x7FE00010
_PLAIN = {ImplicitVRLittleEndian, ExplicitVRLittleEndian}
_JPEG_2000 = {JPEG2000Lossless, JPEG2000}


def read(instance: Instance, frames: list[int]) -> Sequence[Stored]:
    """The stored values of some frames of one instance, (row, column) each."""
    header, only = instance.header, frames[0] if len(frames) == 1 else None
    plain = layout(header)
    if plain is not None:
        with opened(instance.source) as file:
            found = _plain(file, instance, frames, plain)
        if found is not None:
            return found
    if _is_for_openjpeg(header):
        with opened(instance.source) as file:
            array = _openjpeg(file, instance, only)
    else:
        array = decode(instance.source, only)
    return [array] if only is not None else list(array[frames])


class Layout(NamedTuple):
    """How stored values lie in a file: their dtype, and the number of unused high bits (PS3.5 8.1.1)."""

    kind: np.dtype[Any]
    unused: int


def layout(header: Dataset) -> Layout | None:
    """None unless the values lie there as numpy would have them."""
    if text(header.file_meta, "TransferSyntaxUID") not in _PLAIN or short(header, "SamplesPerPixel") != 1:
        return None
    bits, stored, high, sign = (
        short(header, name) for name in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
    )
    if bits not in (8, 16) or stored is None or not 0 < stored <= bits or high != stored - 1 or sign not in (0, 1):
        return None
    return Layout(np.dtype(f"<{'ui'[sign]}{bits // 8}"), bits - stored)


def _plain(file: BinaryIO, instance: Instance, frames: list[int], plain: Layout) -> list[Stored] | None:
    """Frames without a copy where the file lies in memory; None where the length is not as expected."""
    pixels = instance.pixels or find_pixels(file, instance.header)
    size = instance.rows * instance.columns * plain.kind.itemsize
    total = size * instance.frames
    if pixels is None or pixels.tag != _PIXEL_DATA or pixels.length not in (total, total + total % 2):
        return None
    pieces = [_bytes(file, pixels.start + frame * size, size) for frame in frames]
    if any(len(piece) != size for piece in pieces):
        return None
    arrays = [np.frombuffer(piece, plain.kind).reshape(instance.rows, instance.columns) for piece in pieces]
    return [_clean(array, plain.unused) for array in arrays] if plain.unused else list(arrays)


def _bytes(file: BinaryIO, start: int, length: int) -> bytes | memoryview:
    getbuffer = getattr(file, "getbuffer", None)
    if getbuffer is not None:
        return memoryview(getbuffer())[start : start + length]
    file.seek(start)
    return file.read(length)


def _clean(array: NDArray[np.integer], unused: int) -> NDArray[np.integer]:
    """Stored values without what an old overlay may have left in the unused high bits (PS3.5 8.1.1), sign extended."""
    kind = np.iinfo(array.dtype)
    if kind.min >> unused <= array.min() and array.max() <= kind.max >> unused:
        return array
    return (array << unused) >> unused


def _is_for_openjpeg(header: Dataset) -> bool:
    syntax = text(header.file_meta, "TransferSyntaxUID")
    if syntax not in _JPEG_2000 or short(header, "SamplesPerPixel") != 1:
        return False
    return (short(header, "BitsAllocated") or 0) <= 16 and "pillow" in get_decoder(UID(syntax)).available_plugins


def _openjpeg(file: BinaryIO, instance: Instance, frame: int | None) -> Stored:
    """(row, column) of one frame, (frame, row, column) of all; the values that ``pixels.decode`` gives, sooner."""
    header = instance.header
    pixels = instance.pixels or find_pixels(file, header)
    if pixels is None:
        raise StudyRefused("An instance holds no image.")
    file.seek(pixels.at)
    refuse_other_sizes(file, header, frame)
    file.seek(pixels.start)
    image = header.group_dataset(0x0028)  # the image pixel module, and where its frames begin
    image.update(header.group_dataset(0x7FE0))
    image.file_meta = header.file_meta
    image.PixelData = file.read()
    _use_threads()
    decoder = get_decoder(header.file_meta.TransferSyntaxUID)
    options: dict[str, Any] = {"allow_excess_frames": False}
    return decoder.as_array(image, index=frame, decoding_plugin="pillow", **options)[0]


def _use_threads() -> None:
    """Let OpenJPEG decode the code blocks of an image with all cores: Python's lock is held meanwhile, so that threads
    of our own would wait for each other."""
    os.environ.setdefault("OPJ_NUM_THREADS", str(cores()))


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
