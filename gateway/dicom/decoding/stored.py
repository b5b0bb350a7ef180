"""The stored values of one instance, by the shortest way to them.

Plain little-endian pixels are taken from the bytes of their part without pydicom's machinery, the codestreams of grey
ones from where they are known to lie; all else goes to ``pixels.decode``.
"""

from collections.abc import MutableMapping, Sequence
from typing import Any, BinaryIO, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.contract.requests import reserve
from gateway.dicom.decoding.codestreams import codestreams
from gateway.dicom.decoding.compressed import BROKEN, KINDS, decode_frames, describe
from gateway.dicom.decoding.pixels import check_image, decode
from gateway.dicom.reading.attributes import text, unreadable
from gateway.dicom.reading.deflated import InflatedFile, inflated
from gateway.dicom.reading.fast_headers import find_pixels
from gateway.dicom.reading.files import opened, refusing
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.raw_values import short

Stored = NDArray[np.generic]

_PIXEL_DATA = 0x7FE00010
_found: MutableMapping[Instance, list[bytes]] = WeakKeyDictionary()
"""The codestreams of images of several frames, for as long as these are in use: without an offset table a frame is
found by a look at all fragments, and a model of images takes one frame after the other."""
_PLAIN = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian}


def read(instance: Instance, frames: list[int]) -> Sequence[Stored]:
    """The stored values of some frames of one instance, (row, column) each."""
    header, only = instance.header, frames[0] if len(frames) == 1 else None
    plain = layout(header)
    if plain is not None:
        with opened(instance.source) as file:
            found = _plain(file, instance, frames, plain)
        if found is not None:
            return found
    if _is_grey_and_compressed(header):
        with opened(instance.source) as file:
            return _compressed(file, instance, frames)
    array = decode(instance.source, only)
    return [array] if only is not None else list(array[frames])


def read_frame(instance: Instance, frame: int) -> Stored:
    """The stored values of one frame, grey or in colour, as ``pixels.decode`` gives them."""
    if text(instance.header.file_meta, "TransferSyntaxUID") not in KINDS:
        return decode(instance.source, frame)
    with opened(instance.source) as file, refusing(f"{BROKEN}."):
        return _compressed(file, instance, [frame])[0]


class Layout(NamedTuple):
    """The layout of stored values in a file: their dtype, and the number of unused high bits (PS3.5 8.1.1)."""

    kind: np.dtype[Any]
    unused: int


def layout(header: Dataset) -> Layout | None:
    """Return the layout of the values; None where numpy cannot read them as they lie."""
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
    # One seek and one read a frame, or a view of the part: pydicom would parse the header again and copy every frame.
    # What it would judge is judged here first: the length has to be that of the stated frames, with or without a byte
    # of padding, and anything else is left to ``decode``, which refuses what does not fit.
    if instance.header.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        file = inflated(file)
    pixels = instance.pixels or find_pixels(file)
    size = instance.rows * instance.columns * plain.kind.itemsize
    total = size * instance.frames
    if pixels is None or pixels.tag != _PIXEL_DATA or pixels.length not in (total, total + total % 2):
        return None
    if isinstance(file, InflatedFile):
        reserve(size * len(frames))
    # In the order of the file, since a deflated one is inflated again from its start to go back.
    found = {frame: _bytes(file, pixels.start + frame * size, size) for frame in sorted(frames)}
    if any(len(piece) != size for piece in found.values()):
        return None
    arrays = [np.frombuffer(found[one], plain.kind).reshape(instance.rows, instance.columns) for one in frames]
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


def _is_grey_and_compressed(header: Dataset) -> bool:
    return text(header.file_meta, "TransferSyntaxUID") in KINDS and short(header, "SamplesPerPixel") == 1


def _compressed(file: BinaryIO, instance: Instance, frames: list[int]) -> Sequence[Stored]:
    """The values that ``pixels.decode`` gives, without a second look at the header."""
    # The same checks and decoders as there. The header has been read once, and where its pixels lie is known, so that
    # a slice costs its codestream alone.
    only = frames[0] if len(frames) == 1 else None
    check_image(instance.header, only)
    image = describe(instance.header)
    return decode_frames(image, _codestreams(file, instance, frames), frames[0])


def _codestreams(file: BinaryIO, instance: Instance, frames: list[int]) -> list[bytes]:
    """The codestreams of some frames; those of an image of several frames are found once."""
    found = _found.get(instance)
    if found is None:
        pixels = instance.pixels or find_pixels(file)
        if pixels is None:
            raise unreadable("PixelData", "is missing")
        file.seek(pixels.at)
        found = codestreams(file, instance.header, None)
        if len(found) > 1:
            _found[instance] = found
    return [found[frame] for frame in frames]
