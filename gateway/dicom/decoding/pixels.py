"""Pixels: decoded to stored values, and turned into what a person sees."""

import io
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.contract.requests import reserve
from gateway.dicom.decoding.codestreams import codestreams
from gateway.dicom.decoding.compressed import BROKEN, decode_frames, describe, undecodable
from gateway.dicom.decoding.lookups import palette_to_rgb
from gateway.dicom.decoding.windows import Window, display_range, linear
from gateway.dicom.reading.attributes import text, unreadable, whole
from gateway.dicom.reading.elements import Element
from gateway.dicom.reading.fast_headers import pixels_at
from gateway.dicom.reading.files import Source, convert_dataset_to_bytes, opened, read_header, read_whole, refusing
from gateway.dicom.reading.frame_counts import check_length, check_padding, stated_size
from gateway.errors import LimitExceeded, StudyRefused

Array = NDArray[np.generic]
RGB = NDArray[np.uint8]

MAX_DECODED_BYTES = 4 << 30
"""Bytes of one decoded file or frame: a breast tomosynthesis of 300 frames takes 2.5 GiB. A header may state any."""

MAX_PADDING = 1 << 20
"""Bytes after the frames of an image that are compared with zero; less than a frame, and blocks are far smaller."""

_IMPLICIT_HEADER = 8
"""Bytes of the tag and the length of an element without a VR (PS3.5 7.1.3)."""

_COLOUR = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
_DECODED = ("BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration")
"""Numbers by which pydicom decodes, beside those that are read here."""
_GREY = {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"}


def decode(source: Source, frame: int | None = None) -> Array:
    """Stored values: ((frames,) rows, columns) or, for colour, ((frames,) rows, columns, 3), YBR converted to RGB.

    The dtype is that of the file (uint8 to int32, float32, float64). ``frame`` counts from 0; without it, all are
    decoded. Raises StudyRefused (no image, broken pixels, a decoder that is not installed, by name), LimitExceeded.
    """
    with opened(source) as file:
        header = read_header(file)
        check_image(header, frame)
        with refusing(f"{BROKEN}."):
            syntax = UID(header.file_meta.TransferSyntaxUID)
            if syntax.is_private or not syntax.is_transfer_syntax:
                raise undecodable(syntax)
            if syntax.is_encapsulated:
                return _compressed(file, header, frame)
            return _native(file, header, frame)


def _compressed(file: BinaryIO, header: Dataset, frame: int | None) -> Array:
    """``file`` stands at (7FE0,0010)."""
    image = describe(header)
    arrays = decode_frames(image, codestreams(file, header, frame), frame or 0)
    return arrays[0] if len(arrays) == 1 else np.stack(arrays)


def _native(file: BinaryIO, header: Dataset, frame: int | None) -> Array:
    """Uncompressed pixels of any byte order. pydicom seeks for frames, which neither of these two lets it."""
    subsampled = text(header, "PhotometricInterpretation") == "YBR_FULL_422"
    source: Dataset | BinaryIO = file
    size = stated_size(header, whole(header, "NumberOfFrames") or 1)
    even, pixels = size + size % 2, _stated_vr(file, header)
    if subsampled or pixels is None:
        source = read_whole(file, even)
        if subsampled:
            _refuse_full_chroma(source)
        data = source.get("PixelData", b"")
        check_length(header, whole(header, "NumberOfFrames") or 1, len(data))
        check_padding(data[even : even + MAX_PADDING])
    elif pixels.length > even:
        file.seek(pixels.start + even)
        check_padding(file.read(min(pixels.length - even, MAX_PADDING)))
    file.seek(0)
    array = pixel_array(source, index=frame, allow_excess_frames=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _stated_vr(file: BinaryIO, header: Dataset) -> Element | None:
    """The pixels of a file that stands at them; None where pydicom would not find them by the VR that is stated."""
    pixels = pixels_at(file, header)
    implicit = header.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    return pixels if pixels is not None and (pixels.start - pixels.at == _IMPLICIT_HEADER) == implicit else None


def _refuse_full_chroma(dataset: Dataset) -> None:
    """Refuse YBR_FULL_422 with three bytes a pixel, where two are (PS3.3 C.7.6.3.1.2): all pixels would be others."""
    pixels = dataset.Rows * dataset.Columns * (whole(dataset, "NumberOfFrames") or 1)
    if len(dataset.PixelData) > 2 * pixels + 1:
        raise StudyRefused("An image states YBR_FULL_422 and has more than two bytes a pixel: YBR_FULL may be meant.")


def check_image(header: Dataset, frame: int | None) -> None:
    """Refuse what holds no image that we can show, and more bytes than the limit or the request's own has left."""
    for keyword in _DECODED:
        whole(header, keyword)  # raises where a decoder would take an unreadable value for its default
    rows, columns = whole(header, "Rows"), whole(header, "Columns")
    if not rows or not columns:
        raise unreadable("Columns" if rows else "Rows", "is missing or 0, so that the instance holds no image")
    if not text(header.file_meta, "TransferSyntaxUID"):
        raise unreadable("TransferSyntaxUID", "is missing or empty, so that the pixels cannot be read")
    if text(header, "PhotometricInterpretation") not in _COLOUR | _GREY:
        raise unreadable("PhotometricInterpretation", "is missing, or is not supported")
    frames = whole(header, "NumberOfFrames") or 1
    high, stored = whole(header, "HighBit"), whole(header, "BitsStored")
    if high is not None and stored is not None and high != stored - 1:
        raise unreadable("HighBit", "is not BitsStored - 1, as PS3.5 8.1.1 has it")
    if frame is not None and not 0 <= frame < frames:
        raise StudyRefused(f"An image has no frame {frame}: it has {frames}, counted from 0.")
    size = rows * columns * (whole(header, "SamplesPerPixel") or 1) * -(-(whole(header, "BitsAllocated") or 8) // 8)
    decoded = size * (frames if frame is None else 1)
    if decoded > MAX_DECODED_BYTES:
        raise LimitExceeded("MAX_DECODED_BYTES", MAX_DECODED_BYTES, what="A decoded image")
    reserve(decoded)


def to_rgb(header: Dataset, array: Array, frame: int = 0, window: Window | None = None) -> RGB:
    """Convert a decoded frame for display: (rows, columns) or (rows, columns, 3) -> uint8 (rows, columns, 3).

    Grey values pass the modality LUT, then the VOI window or LUT of the header, else a window over the 1st to the 99th
    percentile; MONOCHROME1 is inverted (PS3.4 N.2). ``frame`` picks the frame's own window in an enhanced image,
    and ``window`` replaces it. Raises ValueError for another shape, StudyRefused for broken look-up tables.
    """
    colour = array.ndim == 3 and array.shape[-1] == 3
    if not colour and array.ndim != 2:
        raise ValueError(f"to_rgb takes one frame, (rows, columns) or (rows, columns, 3), not {array.shape}")
    with refusing("The display attributes of an image are broken."):
        if colour:
            return _eight_bits(array, whole(header, "BitsStored"))
        if text(header, "PhotometricInterpretation") == "PALETTE COLOR":
            return palette_to_rgb(header, array)
        return np.repeat(_grey(header, array, frame, window)[..., None], 3, axis=-1)


def _grey(header: Dataset, array: Array, frame: int, window: Window | None) -> NDArray[np.uint8]:
    shown = np.rint(display_range(header, array, frame, window) * 255).astype(np.uint8)
    return 255 - shown if text(header, "PhotometricInterpretation") == "MONOCHROME1" else shown


def _eight_bits(array: Array, bits: int | None) -> RGB:
    """Unsigned colour of any depth as uint8, the largest value that ``bits`` can hold as 255."""
    if array.dtype == np.uint8 and bits in (None, 8):
        return np.ascontiguousarray(array, dtype=np.uint8)
    largest = float(2 ** (bits or array.dtype.itemsize * 8) - 1)
    return np.rint(np.clip(array.astype(np.float64) / largest, 0, 1) * 255).astype(np.uint8)


def convert_monochrome_1to2(dcm: Dataset) -> Dataset:
    """Store a MONOCHROME1 dataset as MONOCHROME2, in place: its pixels inverted within BitsStored, and decompressed.

    A window is moved so that it still shows the same pixels; a VOI LUT, which cannot be moved, is removed. Other
    datasets are returned as they are. Raises StudyRefused for float pixels, pixels that cannot be decoded, and an
    unreadable rescale.
    """
    if text(dcm, "PhotometricInterpretation") != "MONOCHROME1":
        return dcm
    if "PixelData" not in dcm:
        raise StudyRefused("Only integer pixels can be converted from MONOCHROME1 to MONOCHROME2.")
    with refusing(f"{BROKEN}."):
        if dcm.file_meta.TransferSyntaxUID.is_encapsulated:
            _decompress(dcm)
        stored = dcm.pixel_array
        mirror = -1 if dcm.PixelRepresentation else 2**dcm.BitsStored - 1
        inverted = (mirror - stored.astype(np.int64)).astype(stored.dtype)
        dcm.PixelData = inverted.astype(stored.dtype.newbyteorder("<")).tobytes()
        _mirror_window(dcm, mirror)
    dcm.PhotometricInterpretation = "MONOCHROME2"
    return dcm


def _decompress(dcm: Dataset) -> None:
    """Store a grey dataset uncompressed, in place, as ``Dataset.decompress`` does."""
    values = decode(io.BytesIO(convert_dataset_to_bytes(dcm)))
    dcm.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    dcm["PixelData"].VR = "OB" if values.dtype.itemsize == 1 else "OW"
    dcm["PixelData"].is_undefined_length = False
    dcm.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        dcm.pop(keyword, None)


def _mirror_window(dcm: Dataset, mirror: int) -> None:
    """Move windows with their pixels: a rescaled value y has become ``turn`` - y (PS3.3 C.11.2.1.2.1 for the half)."""
    dcm.pop("VOILUTSequence", None)
    slope, intercept = linear(dcm) or (1.0, 0.0)
    turn = mirror * slope + 2 * intercept
    half = text(dcm, "VOILUTFunction") in ("", "LINEAR")
    if "WindowCenter" in dcm:
        centres = np.atleast_1d(np.asarray(dcm.WindowCenter, dtype=np.float64))
        dcm.WindowCenter = [round(turn - float(centre) + half, 6) for centre in centres]
