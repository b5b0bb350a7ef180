"""Pictures as DICOM: PNG or JPEG -> Secondary Capture (PS3.3 A.8.1)."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from gateway.dicom.reading.files import opened, refusing
from gateway.errors import LimitExceeded, StudyRefused

MAX_PIXELS = 64 << 20
"""Pixels of one picture: twice the largest camera sensor, and below the size that Pillow refuses."""

_FORMATS = ("PNG", "JPEG")
_SIXTEEN_BIT = {"I;16", "I;16L", "I;16B", "I"}


def image_to_secondary_capture(path_or_file: Path | BinaryIO) -> Dataset:
    """Return a PNG or JPEG as a Secondary Capture dataset with file meta information, its pixels uncompressed.

    Grey pictures give MONOCHROME2 of 8 or 16 bits, all others RGB of 8 bits, transparency over black; the orientation
    in EXIF is applied. UIDs come from the pixels: the same picture gets the same ones, in a study and a series of its
    own (see ``join_series``). Raises StudyRefused (no picture, broken, animated), LimitExceeded (``MAX_PIXELS``).
    """
    with opened(path_or_file) as file, refusing("A picture is not a PNG or JPEG, or it is broken."):
        pixels = _read_pixels(file)
    digest = hashlib.sha256(repr((pixels.shape, pixels.dtype.str)).encode() + pixels.tobytes()).hexdigest()
    dataset = _empty_capture(digest)
    _add_pixels(dataset, pixels)
    return dataset


def join_series(captures: Sequence[Dataset]) -> None:
    """Make captures one series of one study in their order; its UIDs come from all their pixels, also where two agree.

    A single capture stays as it is.
    """
    if len(captures) < 2:
        return
    members = [str(capture.SOPInstanceUID) for capture in captures]
    for number, capture in enumerate(captures, start=1):
        capture.StudyInstanceUID = generate_uid(entropy_srcs=[*members, "study"])
        capture.SeriesInstanceUID = generate_uid(entropy_srcs=[*members, "series"])
        capture.SOPInstanceUID = generate_uid(entropy_srcs=[*members, "instance", str(number)])
        capture.file_meta.MediaStorageSOPInstanceUID = capture.SOPInstanceUID
        capture.InstanceNumber = number


def _read_pixels(file: BinaryIO) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(rows, columns) uint8 or uint16, or (rows, columns, 3) uint8."""
    try:
        picture = Image.open(file, formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise LimitExceeded("MAX_PIXELS", MAX_PIXELS, "pixels", what="A picture") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise LimitExceeded("MAX_PIXELS", MAX_PIXELS, "pixels", what="A picture")
    if picture.format == "PNG" and getattr(picture, "is_animated", False):
        raise StudyRefused("A picture is animated: send each of its frames as a file.", private="animated picture")
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in _SIXTEEN_BIT:
        return np.asarray(upright).astype(np.uint16)
    if upright.mode in ("1", "L"):
        return np.asarray(upright.convert("L"))
    if "A" in upright.getbands() or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, (0, 0, 0, 255)), upright)
    return np.asarray(upright.convert("RGB"))


def _empty_capture(digest: str) -> Dataset:
    """All but the image pixel module. Attributes of the patient and the study are present and empty (type 2)."""
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[digest, "instance"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[digest, "series"])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[digest, "study"])
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        setattr(dataset, keyword, "")
    dataset.AccessionNumber = dataset.ReferringPhysicianName = dataset.Laterality = ""
    dataset.Modality = "OT"
    dataset.ConversionType = "WSD"
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.PatientOrientation = []
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    return dataset


def _add_pixels(dataset: Dataset, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """The image pixel module (PS3.3 C.7.6.3)."""
    bits = pixels.dtype.itemsize * 8
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset.add_new("PixelData", "OW" if bits == 16 else "OB", data + bytes(len(data) % 2))
