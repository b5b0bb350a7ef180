"""Compressed frames: compared with the header, decoded in another process, and read by one rule."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from gateway.contract.requests import stop_if_cancelled
from gateway.dicom.decoding import bits
from gateway.dicom.decoding.codestreams import JPEG, JPEG_2000, JPEG_LS, LOSSLESS, CodestreamHeader, announced
from gateway.dicom.decoding.handles import DecoderFailed, FrameJob
from gateway.dicom.decoding.pool import pool
from gateway.dicom.reading.attributes import text, whole
from gateway.errors import StudyRefused

Array = NDArray[np.generic]

RLE = "RLE"
KINDS = {
    RLELossless: RLE,
    JPEGBaseline8Bit: JPEG,
    JPEGExtended12Bit: JPEG,
    JPEGLossless: LOSSLESS,
    JPEGLosslessSV1: LOSSLESS,
    JPEGLSLossless: JPEG_LS,
    JPEGLSNearLossless: JPEG_LS,
    JPEG2000Lossless: JPEG_2000,
    JPEG2000: JPEG_2000,
    HTJ2KLossless: JPEG_2000,
    HTJ2KLosslessRPCL: JPEG_2000,
    HTJ2K: JPEG_2000,
}
"""The kind of codestream in each transfer syntax that can be decoded (PS3.5 A.4)."""
_LOSSY = {JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K}
_PACKAGES = {"pillow-j2k": "pillow", "pylibjpeg": "pylibjpeg-openjpeg", "gdcm": "python-gdcm"}
_YBR = ("YBR_FULL", "YBR_FULL_422")
NEWER = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}
"""Transfer syntaxes that pydicom's dictionary lacks (PS3.6 A, Supplements 232 and 244)."""
_PUBLIC = re.compile(r"1\.2\.840\.10008(\.[0-9]{1,5}){1,10}")
BROKEN = "The pixels of an image are missing or broken"


class CompressedImage(NamedTuple):
    """The compressed frames of a header (PS3.3 C.7.6.3)."""

    syntax: UID
    codec: str
    rows: int
    columns: int
    samples: int
    photometric: str
    stored: bits.StoredBits


def describe(header: Dataset) -> CompressedImage:
    """Raises StudyRefused for a transfer syntax that cannot be decoded here, and bits that no sample has."""
    syntax = UID(text(header.file_meta, "TransferSyntaxUID"))
    allocated, samples = whole(header, "BitsAllocated") or 0, whole(header, "SamplesPerPixel") or 0
    codec = _codec(syntax, allocated, samples)
    stored = bits.StoredBits(allocated, whole(header, "BitsStored") or 0, whole(header, "PixelRepresentation") == 1)
    if allocated not in (8, 16, 32) or not 0 < stored.bits <= allocated or samples not in (1, 3):
        raise StudyRefused(f"{BROKEN}: Bits Allocated, Bits Stored or Samples per Pixel is none of {syntax.name}.")
    rows, columns = whole(header, "Rows") or 0, whole(header, "Columns") or 0
    return CompressedImage(syntax, codec, rows, columns, samples, text(header, "PhotometricInterpretation"), stored)


def undecodable(syntax: UID) -> StudyRefused:
    """The refusal of a transfer syntax, by its name in the standard or its public UID."""
    known = not syntax.is_private and syntax.is_transfer_syntax
    name = syntax.name if known else NEWER.get(syntax) or (syntax if _PUBLIC.fullmatch(syntax) else "of a vendor")
    return StudyRefused(
        f"The transfer syntax {name} cannot be decoded here: send the study in another, such as Explicit VR Little"
        " Endian or JPEG 2000.",
        private=f"transfer syntax {name}",
    )


def _codec(syntax: UID, allocated: int, samples: int) -> str:
    """The one codec for such an image, so that it has the same pixels wherever more are installed."""
    kind = KINDS.get(syntax)
    if kind is None:
        raise undecodable(syntax)
    if syntax == JPEGExtended12Bit and allocated > 8:  # its only decoder, libjpeg's, is under the GPL
        raise StudyRefused("JPEG Extended of 12 bits cannot be decoded: send the study in another transfer syntax.")
    if kind == RLE:
        return "rle"
    plugins = get_decoder(syntax).available_plugins
    if syntax in (JPEG2000Lossless, JPEG2000) and samples == 1 and allocated <= 16 and "pillow" in plugins:
        return "pillow-j2k"
    codec = {JPEG: "pillow", LOSSLESS: "gdcm", JPEG_LS: "pyjpegls", JPEG_2000: "pylibjpeg"}[kind]
    if codec not in plugins:
        package = _PACKAGES.get(codec, codec)
        raise StudyRefused(f"{syntax.name} cannot be decoded here: install {package} on this machine.")
    return codec


def decode_frames(image: CompressedImage, codestreams: Sequence[bytes], first: int = 0) -> list[Array]:
    """The stored values of each frame, (row, column) or (row, column, 3); as many are decoded at once as may be.

    ``first`` is the number of the first. Raises StudyRefused, Cancelled, Unavailable.
    """
    if len(codestreams) == 1:
        return [decode_frame(image, codestreams[0], first)]
    with ThreadPoolExecutor(max(1, pool().limits.processes)) as threads:
        tasks = [
            threads.submit(copy_context().run, decode_frame, image, codestream, number)
            for number, codestream in enumerate(codestreams, first)
        ]
        try:
            return [task.result() for task in tasks]
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def decode_frame(image: CompressedImage, codestream: bytes, number: int) -> Array:
    """The stored values of one frame; of colour in RGB. Raises as ``decode_frames``."""
    stop_if_cancelled()
    said = _compared(image, codestream)
    container = 1 if said.precision <= 8 else 2 if said.precision <= 16 else 4
    stated = {
        "syntax": str(image.syntax),
        "rows": image.rows,
        "columns": image.columns,
        "samples": image.samples,
        "photometric": image.photometric,
        "precision": said.precision,
        "container": container,
    }
    job = FrameJob(image.codec, image.rows * image.columns * image.samples * container, stated)
    try:
        data, words = pool().decode(job, codestream)
    except DecoderFailed as failed:
        sentence = f"{BROKEN}: the decoder of {image.syntax.name} {failed} at frame {number}, counted from 0."
        raise StudyRefused(sentence, private=image.codec) from failed
    return _read(image, said, np.frombuffer(data, f"<u{container}"), words)


def _compared(image: CompressedImage, codestream: bytes) -> CodestreamHeader:
    """The header of a codestream, which agrees with that of the instance. Raises StudyRefused."""
    kind = KINDS[image.syntax]
    if kind == RLE:  # says nothing
        return CodestreamHeader(RLE, image.rows, image.columns, image.samples, image.stored.allocated)
    said = announced(codestream)
    if said is None:
        raise StudyRefused(f"{BROKEN}: a codestream of {image.syntax.name} does not say what it holds.")
    if said.kind != kind:
        raise StudyRefused(f"The compressed pixels of an image are {said.kind}, not {image.syntax.name} as it states.")
    if (said.rows, said.columns) != (image.rows, image.columns):
        raise StudyRefused("The compressed pixels of an image are not of the size that its header states.")
    if said.components != image.samples:
        raise StudyRefused("The compressed pixels of an image have not as many components as its header states.")
    if not 0 < said.precision <= image.stored.allocated:
        raise StudyRefused("The compressed pixels of an image have more bits than its Bits Allocated.")
    return said


def _read(image: CompressedImage, said: CodestreamHeader, samples: NDArray[Any], words: dict[str, Any]) -> Array:
    if words.get("by_plane"):
        samples = np.moveaxis(samples.reshape(image.samples, image.rows, image.columns), 0, -1)
    shape = (image.rows, image.columns, image.samples)[: 2 if image.samples == 1 else 3]
    at_top = bool(words.get("at_top"))
    numbers = bits.numbers_of(samples.reshape(shape), said.precision, signed=said.signed, at_top=at_top)
    lossless = image.syntax not in _LOSSY
    values = bits.stored_values(numbers, said.precision, signed=said.signed, stored=image.stored, lossless=lossless)
    if image.samples == 3 and _space(image, said, words) in _YBR:
        converted: Array = convert_color_space(values, "YBR_FULL", "RGB")
        return converted
    return values


def _space(image: CompressedImage, said: CodestreamHeader, words: dict[str, Any]) -> str:
    """The colour space of what was decoded: that of the codestream where it says, else that of the header."""
    if words.get("rgb") or image.syntax in JPEG2000TransferSyntaxes and image.photometric in ("YBR_ICT", "YBR_RCT"):
        return "RGB"
    return said.space or image.photometric
