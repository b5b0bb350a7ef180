"""Images of a plain model: find them among the files and decode them."""

import math
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray

from gateway import StudyRefused

UNREADABLE = (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What pydicom raises for broken files and for encodings that it has no decoder for."""


@dataclass(frozen=True)
class Slice:
    """An image: its header and its pixels as float32, (row, column), after the Modality LUT, bright where dense."""

    header: pydicom.Dataset
    pixels: NDArray[np.float32]


def read_images(files: list[BinaryIO]) -> list[Slice]:
    """Decode each DICOM image among the files of a request, in their order.

    Attachments and DICOM files without an image, such as reports, are skipped.
    """
    datasets = [_read(file) for file in files if _is_dicom(file)]
    images = [_decode(dataset) for dataset in datasets if "PixelData" in dataset]
    if not images:
        raise StudyRefused("The request holds no DICOM image.")
    return images


def _is_dicom(file: BinaryIO) -> bool:
    file.seek(128)
    magic = file.read(4)
    file.seek(0)
    return magic == b"DICM"


def _read(file: BinaryIO) -> pydicom.Dataset:
    try:
        return pydicom.dcmread(file)
    except UNREADABLE as error:
        raise StudyRefused("A DICOM file of the study is broken.") from error


def _rescale(dataset: pydicom.Dataset) -> tuple[float, float]:
    """Return slope and intercept, (1, 0) for an image without either. Raises for an empty or invalid one."""
    if "RescaleSlope" not in dataset and "RescaleIntercept" not in dataset:
        return 1.0, 0.0
    slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    if not (slope and math.isfinite(slope) and math.isfinite(intercept)):
        raise ValueError("an image states an invalid rescale")
    return slope, intercept


def _decode(dataset: pydicom.Dataset) -> Slice:
    try:
        pixels = np.asarray(dataset.pixel_array, np.float32)
        slope, intercept = _rescale(dataset)
        kind = dataset.PhotometricInterpretation
        if not (dataset.SOPInstanceUID and dataset.SeriesInstanceUID):
            raise ValueError("an image without a name cannot be answered for")
    except UNREADABLE as error:
        raise StudyRefused("An image of the study is broken or cannot be decoded here.") from error
    if pixels.ndim == 3 and dataset.get("SamplesPerPixel", 1) == 3:
        pixels = pixels.mean(axis=-1)
    if pixels.ndim != 2:
        raise StudyRefused("This model takes single-frame images.")
    if kind == "PALETTE COLOR":
        raise StudyRefused("This model takes grey values or RGB, not palette colours.")
    pixels = pixels * np.float32(slope) + np.float32(intercept)
    return Slice(dataset, pixels.max() - pixels if kind == "MONOCHROME1" else pixels)
