"""Pixels: decoded to stored values, and turned into what a person sees."""

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from gateway.dicom.decoding.codestreams import refuse_other_sizes
from gateway.dicom.decoding.windows import display_range, linear
from gateway.dicom.reading.attributes import text, whole
from gateway.dicom.reading.files import Source, opened, read_header, refusing
from gateway.errors import LimitExceeded, StudyRefused

Array = NDArray[np.generic]
RGB = NDArray[np.uint8]

MAX_DECODED_BYTES = 4 << 30
"""Bytes of one decoded file or frame: a breast tomosynthesis of 300 frames takes 2.5 GiB. A header may state any."""

_PACKAGES = {"pylibjpeg": "pylibjpeg-openjpeg", "gdcm": "inference-gateway[gdcm]"}
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
        _check(header, frame)
        with refusing("The pixels of an image are missing or broken."):
            syntax = UID(header.file_meta.TransferSyntaxUID)
            plugin = _plugin(syntax, whole(header, "BitsAllocated") or 0)
            if syntax.is_encapsulated and syntax != RLELossless:
                refuse_other_sizes(file, header, frame)
            file.seek(0)
            whole_file = syntax == DeflatedExplicitVRLittleEndian  # pydicom seeks for frames in any other
            array = pixel_array(
                dcmread(file) if whole_file else file, index=frame, decoding_plugin=plugin, allow_excess_frames=False
            )
            return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check(header: Dataset, frame: int | None) -> None:
    """Refuse what holds no image that we can show, and more bytes than the limit."""
    for keyword in _DECODED:
        whole(header, keyword)  # raises where a decoder would take an unreadable value for its default
    rows, columns = whole(header, "Rows"), whole(header, "Columns")
    if not rows or not columns or "TransferSyntaxUID" not in header.file_meta:
        raise StudyRefused("An instance holds no image.")
    if text(header, "PhotometricInterpretation") not in _COLOUR | _GREY:
        raise StudyRefused("An image has a photometric interpretation that is not supported.")
    frames = whole(header, "NumberOfFrames") or 1
    if frame is not None and not 0 <= frame < frames:
        raise StudyRefused(f"An image has no frame {frame}: it has {frames}, counted from 0.")
    size = rows * columns * (whole(header, "SamplesPerPixel") or 1) * -(-(whole(header, "BitsAllocated") or 8) // 8)
    if size * (frames if frame is None else 1) > MAX_DECODED_BYTES:
        raise LimitExceeded("MAX_DECODED_BYTES", MAX_DECODED_BYTES, what="A decoded image")


def _plugin(syntax: UID, bits: int) -> str:
    """The one decoder for a transfer syntax, so that a file gives the same pixels wherever more are installed."""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise StudyRefused("A transfer syntax of the study holds no still images that can be decoded.") from None
    if decoder.is_native:
        return ""
    if syntax == JPEGExtended12Bit and bits > 8:  # its only decoder, libjpeg's, is under the GPL
        raise StudyRefused("JPEG Extended of 12 bits cannot be decoded: send the study in another transfer syntax.")
    plugin = _preferred(syntax)
    if plugin not in decoder.available_plugins:
        package = _PACKAGES.get(plugin, plugin)
        raise StudyRefused(f"{syntax.name} cannot be decoded here: install {package} on this machine.")
    return plugin


def _preferred(syntax: UID) -> str:
    if syntax == RLELossless:
        return "pydicom"
    if syntax in JPEGLSTransferSyntaxes:
        return "pyjpegls"
    if syntax in JPEG2000TransferSyntaxes or syntax.name.startswith("High-Throughput"):
        return "pylibjpeg"
    return "pillow" if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) else "gdcm"


def to_rgb(header: Dataset, array: Array, frame: int = 0) -> RGB:
    """One decoded frame as a person sees it: (rows, columns) or (rows, columns, 3) -> uint8 (rows, columns, 3).

    Grey values pass the modality LUT, then the VOI window or LUT of the header, else a window over the 1st to the 99th
    percentile; MONOCHROME1 is inverted (PS3.4 N.2). ``frame`` picks the frame's own window in an enhanced image.
    Raises ValueError for another shape, StudyRefused for broken look-up tables.
    """
    colour = array.ndim == 3 and array.shape[-1] == 3
    if not colour and array.ndim != 2:
        raise ValueError(f"to_rgb takes one frame, (rows, columns) or (rows, columns, 3), not {array.shape}")
    with refusing("The display attributes of an image are broken."):
        if colour:
            return _eight_bits(array, whole(header, "BitsStored"))
        if text(header, "PhotometricInterpretation") == "PALETTE COLOR":
            return _eight_bits(apply_color_lut(array, header), None)
        return np.repeat(_grey(header, array, frame)[..., None], 3, axis=-1)


def _grey(header: Dataset, array: Array, frame: int) -> NDArray[np.uint8]:
    shown = np.rint(display_range(header, array, frame) * 255).astype(np.uint8)
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
    with refusing("The pixels of an image are missing or broken."):
        if dcm.file_meta.TransferSyntaxUID.is_encapsulated:
            dcm.decompress(generate_instance_uid=False)
        stored = dcm.pixel_array
        mirror = -1 if dcm.PixelRepresentation else 2**dcm.BitsStored - 1
        inverted = (mirror - stored.astype(np.int64)).astype(stored.dtype)
        dcm.PixelData = inverted.astype(stored.dtype.newbyteorder("<")).tobytes()
        _mirror_window(dcm, mirror)
    dcm.PhotometricInterpretation = "MONOCHROME2"
    return dcm


def _mirror_window(dcm: Dataset, mirror: int) -> None:
    """Move windows with their pixels: a rescaled value y has become ``turn`` - y (PS3.3 C.11.2.1.2.1 for the half)."""
    dcm.pop("VOILUTSequence", None)
    slope, intercept = linear(dcm) or (1.0, 0.0)
    turn = mirror * slope + 2 * intercept
    half = text(dcm, "VOILUTFunction") in ("", "LINEAR")
    if "WindowCenter" in dcm:
        centres = np.atleast_1d(np.asarray(dcm.WindowCenter, dtype=np.float64))
        dcm.WindowCenter = [round(turn - float(centre) + half, 6) for centre in centres]
