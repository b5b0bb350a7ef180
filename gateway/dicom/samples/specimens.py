"""A small image in each transfer syntax that the gateway reads, to try whether a machine decodes it.

The image is a ramp over 16 x 16 pixels: stored values 16 * (16 * row + column) in 12 bits, or without the factor in the
8 bits that plain JPEG has. The codestreams below were made once, by OpenJPH, OpenJPEG, CharLS, GDCM and libjpeg.
"""

from base64 import b64decode
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from gateway.dicom.decoding.pixels import decode
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.errors import GatewayError

SIZE = 16
"""Rows and columns."""

_JPEG = b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggL"
    "DAsKDAkKCgr/wAALCAAQABABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAABgn/xAAZEAABBQAAAAAAAAAAAAAAAAAABQklMaP/2gAIAQEAAD8A"
    "namtt1AZCBNbbqAyLwJrbdQGQgTW26gMj//Z"
)
_JPEG_LOSSLESS = b64decode(
    "/9j/wwALEAAQABABAREA/8QAFgABAQEAAAAAAAAAAAAAAAAABQkQ/9oACAEBAAEAAMgggggggggggggghQBBBBBBBBBBBBBBBCgCCCCCCCCC"
    "CCCCCCFAEEEEEEEEEEEEEEEKAIIIIIIIIIIIIIIIUAQQQQQQQQQQQQQQQoAgggggggggggggghQBBBBBBBBBBBBBBBCgCCCCCCCCCCCCCCCF"
    "AEEEEEEEEEEEEEEEKAIIIIIIIIIIIIIIIUAQQQQQQQQQQQQQQQoAgggggggggggggghQBBBBBBBBBBBBBBBCgCCCCCCCCCCCCCCCFAEEEEEE"
    "EEEEEEEEEP/Z"
)
_JPEG_LS = b64decode(
    "/9j/9wALDAAQABABAREA/9oACAEBAAAAAK/fv3e793vnfXPG+0AgYL3nXG2mWF1nNawAEDGMYta1rWpSlLz/KUzMzMqqqq8fyqqqqqqqqq6f"
    "qqqqqqqqrTh+JJJJJJJNn2kkkkkkk0fSSqqqrJ8qqqqqwfCqr/ue7/92PZ//ePV//1PR/39PN/98AP/ZAA=="
)
_JPEG_LS_NEAR = b64decode(
    "/9j/9wALDAAQABABAREA/9oACAEBAAIAAKtb1u9b29u+gWt3dmYibJpgC22m00pSsJlKlUqrmaVUqpXmbnz/DJ//cZP/fjJ//oyf/1GT/35i"
    "/3+Yv/8jF/98xf9/MX//QP/ZAA=="
)
_JPEG_2000 = b64decode(
    "/0//UQApAAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABCwEB/1IADAAAAAEAAQQEAAH/XAAHQGBoaHD/ZAAlAAFDcmVhdGVk"
    "IGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAABeAAH/k9/g9BIrAwsLE+S5L4U/OFCLF3Xs/uu7v5kK41dJijMPeCQK4ToLNdAH"
    "+QBsRY8PBFqgRlGN7gnTuodlVO+c/Z/AHzhIPzBQNqGZzz2mNGDP/9k="
)
_JPEG_2000_LOSSY = b64decode(
    "/0//UQApAAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABCwEB/1IADgECAAEAAQQEAACIiP9cAAtCaCR303fTd2L/ZAAlAAFD"
    "cmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAABbAAH/k8+w0BDcQjzmV0PjwMlgHFEhmCG+drQzpg2vck/slq6B88Wr"
    "DIg96CMPm+b0Z8ndKVlDe/MBS8zABHAfGNA2oX49pi1lYRmDbcDtwoAH/9k="
)
_HTJ2K = b64decode(
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAIEBEAB/1wACiCIkJCQiIiI"
    "/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv9VAAoAYAAAAAAAev+QAAoAAAAAAHoAAf+TwAAuoP9//3f/fv9d/3v/W7f52+z/b9/mf+9f5n/3"
    "d7nN3VT+APWXQgAxuADAABUQAAVghmEYqnCCdQB+9MMPP/7AUoHstgDAACsgABaQ7u7u7ufAp6enwngA/v39/f39/f39jGB79jGB7LoA/9k="
)
_HTJ2K_LOSSY = b64decode(
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAAJP9SAAwAAgABAAIEBEAA/1wAESJv5mA1YDVg"
    "eFgaWBpnv/9kABcAAU9wZW5KUEggVmVyIDAuMjYuMy7/kAAKAAAAAABMAAH/k8AC3/mP/Plf/PoHP/69XzzSIz7RCR90wPP8APWXIQAxuACg"
    "ArBi9NCjo0A5KbvqNwCgBVAEAP7917917LcA/9k="
)


@dataclass(frozen=True)
class Specimen:
    """The ramp in one transfer syntax; ``tolerance`` is how far a decoded value may be off, in stored values."""

    syntax: UID
    codestream: bytes | None = None
    tolerance: int = 0
    bits: int = 12

    @property
    def values(self) -> NDArray[np.uint16]:
        """The stored values that were encoded: uint16 (row, column)."""
        values: NDArray[np.uint16] = np.arange(SIZE * SIZE, dtype=np.uint16) * np.uint16(2 ** (self.bits - 8))
        return values.reshape(SIZE, SIZE)

    def file(self) -> bytes:
        """A Secondary Capture in this transfer syntax, as a Part 10 file (PS3.10 7.1)."""
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = self.syntax
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.SOPInstanceUID = "2.25.1"
        dataset.Rows = dataset.Columns = SIZE
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = self.bits, self.bits - 1, 0
        dataset.BitsAllocated = -(-self.bits // 8) * 8
        dataset.PixelData = encapsulate([self.codestream]) if self.codestream else self._native()
        dataset["PixelData"].VR = "OB" if self.codestream else "OW"
        return convert_dataset_to_bytes(dataset)

    def refusal(self) -> str:
        """Return why this machine does not decode it, in a sentence; "" where it does."""
        try:
            found = decode(BytesIO(self.file())).astype(np.int32)
        except GatewayError as refused:
            return refused.detail
        if found.shape != self.values.shape or np.abs(found - self.values).max() > self.tolerance:
            return f"{self.syntax.name} is decoded to values that were not encoded."
        return ""

    def _native(self) -> bytes:
        order = ">u2" if self.syntax == ExplicitVRBigEndian else "<u2"
        return self.values.astype(order).tobytes()


def _rle() -> bytes:
    """The ramp as two RLE segments of literal runs, the upper byte first (PS3.5 G.3, G.5)."""
    ramp = Specimen(RLELossless).values
    segments = [
        b"".join(bytes([SIZE - 1]) + row.tobytes() for row in half.astype(np.uint8)) for half in (ramp >> 8, ramp)
    ]
    header = np.zeros(16, "<u4")
    header[:3] = len(segments), 64, 64 + len(segments[0])
    return header.tobytes() + b"".join(segments)


FAMILIES = {
    "uncompressed": [
        Specimen(ImplicitVRLittleEndian),
        Specimen(ExplicitVRLittleEndian),
        Specimen(ExplicitVRBigEndian),
        Specimen(DeflatedExplicitVRLittleEndian),
    ],
    "RLE": [Specimen(RLELossless, _rle())],
    "JPEG": [
        Specimen(JPEGBaseline8Bit, _JPEG, tolerance=4, bits=8),
        # the same codestream behind the marker of the extended process (ISO 10918-1 table B.1)
        Specimen(JPEGExtended12Bit, _JPEG.replace(b"\xff\xc0", b"\xff\xc1"), tolerance=4, bits=8),
    ],
    "JPEG Lossless": [Specimen(JPEGLossless, _JPEG_LOSSLESS), Specimen(JPEGLosslessSV1, _JPEG_LOSSLESS)],
    "JPEG-LS": [Specimen(JPEGLSLossless, _JPEG_LS), Specimen(JPEGLSNearLossless, _JPEG_LS_NEAR, tolerance=2)],
    "JPEG 2000": [Specimen(JPEG2000Lossless, _JPEG_2000), Specimen(JPEG2000, _JPEG_2000_LOSSY, tolerance=128)],
    "HTJ2K": [
        Specimen(HTJ2KLossless, _HTJ2K),
        Specimen(HTJ2KLosslessRPCL, _HTJ2K),
        Specimen(HTJ2K, _HTJ2K_LOSSY, tolerance=128),
    ],
}
"""Each is decoded by one package (``gateway.dicom.decoding.compressed``); JPEG 2000 in colour by that of HTJ2K."""
