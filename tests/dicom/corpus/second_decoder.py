"""A second decoder of pixel data, to compare the gateway's with.

Uncompressed pixels and RLE are read by numpy here. A codestream is given to another library than the gateway uses for
it (``gateway.dicom.decoding.codecs``): JPEG Lossless to libjpeg-turbo, all others to GDCM.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRBigEndian, JPEGLossless, JPEGLosslessSV1, RLELossless

Array = NDArray[Any]


class Unreadable(Exception):
    """The other library does not read a codestream of this depth either, or finds no pixels."""


def decode(path: Path) -> list[Array]:
    """Stored values of each frame: (row, column), or (row, column, 3) with YBR converted to RGB."""
    dataset = dcmread(path)
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return [_in_colour(dataset, _stored_bits(dataset, frame)) for frame in _native(dataset)]
    if syntax == RLELossless:
        return [_in_colour(dataset, _run_lengths(dataset, data)) for data in _codestreams(dataset)]
    if syntax in (JPEGLossless, JPEGLosslessSV1):
        return [_by_libjpeg(data) for data in _codestreams(dataset)]
    return [_stored_bits(dataset, frame) for frame in _by_gdcm(path)]


def _frames(dataset: Dataset) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


def _codestreams(dataset: Dataset) -> Iterator[bytes]:
    return generate_frames(dataset.PixelData, number_of_frames=_frames(dataset))


def _native(dataset: Dataset) -> Iterator[Array]:
    """Uncompressed frames, their colours as they are (PS3.5 8.1.1, A.3)."""
    pixels, width = dataset.Rows * dataset.Columns, dataset.BitsAllocated // 8
    data = np.frombuffer(dataset.PixelData, np.uint8)
    big = dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    if width < 2 and big and dataset["PixelData"].VR == "OW":
        data = data.view(">u2").astype("<u2").view(np.uint8)
    if width == 0:
        data = np.unpackbits(data, bitorder="little")
    subsampled = dataset.PhotometricInterpretation == "YBR_FULL_422"
    size = pixels * (2 if subsampled else dataset.SamplesPerPixel) * max(1, width)
    for start in range(0, size * _frames(dataset), size):
        frame = data[start : start + size]
        if subsampled:
            frame = _full_chroma(frame)
        values = frame.view(f"{'<>'[big]}{'ui'[dataset.PixelRepresentation]}{max(1, width)}")
        yield _shaped(dataset, values.astype(values.dtype.newbyteorder("=")), dataset.get("PlanarConfiguration", 0))


def _full_chroma(frame: Array) -> Array:
    """Y Y B R for each two pixels as Y B R Y B R (PS3.3 C.7.6.3.1.2)."""
    pairs = frame.reshape(-1, 4)
    return np.column_stack([pairs[:, :2].reshape(-1), pairs[:, 2:].repeat(2, axis=0)]).reshape(-1)


def _shaped(dataset: Dataset, values: Array, by_plane: int) -> Array:
    shape = dataset.Rows, dataset.Columns
    if dataset.SamplesPerPixel == 1:
        return values.reshape(shape)
    return np.moveaxis(values.reshape(3, *shape), 0, -1) if by_plane else values.reshape(*shape, 3)


def _in_colour(dataset: Dataset, pixels: Array) -> Array:
    return _rgb(pixels) if dataset.PhotometricInterpretation.startswith("YBR") else pixels


def _rgb(ybr: Array) -> Array:
    """The inverse of the equations of YBR_FULL (PS3.3 C.7.6.3.1.2)."""
    forward = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    colours = (ybr.astype(float) - (0, 128, 128)) @ np.linalg.inv(forward).T
    return np.rint(colours).clip(0, 255).astype(np.uint8)


def _run_lengths(dataset: Dataset, data: bytes) -> Array:
    """One frame of RLE Lossless: a segment for each byte of a sample, the highest first (PS3.5 annex G)."""
    count, *starts = np.frombuffer(data[:64], "<u4").tolist()
    ends = [*starts[1:count], len(data)]
    pixels, width = dataset.Rows * dataset.Columns, dataset.BitsAllocated // 8
    segments = [_unpacked(data[start:end], pixels) for start, end in zip(starts, ends, strict=False)]
    samples = np.stack(segments).reshape(dataset.SamplesPerPixel, width, pixels)
    highest_last = np.ascontiguousarray(samples[:, ::-1].transpose(0, 2, 1))
    return _shaped(dataset, highest_last.view(f"<{'ui'[dataset.PixelRepresentation]}{width}").reshape(-1), 1)


def _unpacked(segment: bytes, length: int) -> Array:
    found, at = bytearray(), 0
    while len(found) < length:
        head = segment[at]
        count = head + 1 if head < 128 else 257 - head
        found += segment[at + 1 : at + 1 + count] if head < 128 else segment[at + 1 : at + 2] * (count % 129)
        at += 1 + count if head < 128 else 2 if head > 128 else 1
    return np.frombuffer(bytes(found[:length]), np.uint8)


def _stored_bits(dataset: Dataset, pixels: Array) -> Array:
    """The low Bits Stored bits of each sample, with the sign that the header states (PS3.5 8.1.1)."""
    allocated = max(8, dataset.BitsAllocated)
    unused = dataset.BitsAllocated - dataset.BitsStored
    return (pixels.astype(f"{'ui'[dataset.PixelRepresentation]}{allocated // 8}") << unused) >> unused


def _by_libjpeg(codestream: bytes) -> Array:
    try:
        return np.asarray(Image.open(io.BytesIO(codestream)))
    except UnidentifiedImageError as error:
        raise Unreadable from error


def _by_gdcm(path: Path) -> Iterator[Array]:
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read() or reader.GetImage().GetBuffer() is None:
        raise Unreadable
    image = reader.GetImage()
    stated = image.GetPixelFormat()
    data = image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM gives its bytes as a string
    values = np.frombuffer(data, f"<{'ui'[stated.GetPixelRepresentation()]}{stated.GetBitsAllocated() // 8}")
    columns, rows, *count = (image.GetDimension(axis) for axis in range(image.GetNumberOfDimensions()))
    for pixels in values.reshape(count[0] if count else 1, -1):
        if stated.GetSamplesPerPixel() == 1:
            yield pixels.reshape(rows, columns)
            continue
        by_plane = image.GetPlanarConfiguration()
        colour = np.moveaxis(pixels.reshape(3, rows, columns), 0, -1) if by_plane else pixels.reshape(rows, columns, 3)
        yield _rgb(colour) if str(image.GetPhotometricInterpretation()).startswith("YBR_FULL") else colour
