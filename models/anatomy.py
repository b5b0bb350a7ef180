"""What the example models share: slices in spatial order, and where the body is in them."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from scipy import ndimage

from gateway import StudyRefused

UNREADABLE = (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What pydicom raises for broken files and for encodings that it has no decoder for."""


@dataclass(frozen=True)
class Slice:
    """One image: its header and its pixels as float32, (row, column), after the Modality LUT, bright where dense."""

    header: pydicom.Dataset
    pixels: NDArray[np.float32]

    @property
    def is_placed(self) -> bool:
        """Whether the header says where the image lies in the patient."""
        found = [self.header.get(name) for name in ("ImagePositionPatient", "ImageOrientationPatient")]
        return [np.size(values) for values in found] == [3, 6]

    @property
    def normal(self) -> NDArray[np.float64]:
        """The direction in which slices are stacked (PS3.3 C.7.6.2.1.1)."""
        row, column = np.reshape(np.asarray(self.header.ImageOrientationPatient, float), (2, 3))
        return np.cross(row, column)

    @property
    def height(self) -> float:
        """Position along the normal, mm."""
        return float(self.normal @ np.asarray(self.header.ImagePositionPatient, float))


def read_images(files: list[BinaryIO]) -> list[Slice]:
    """Decode each DICOM image among the files of a request, in their order.

    Attachments and DICOM files without an image, such as reports, are passed over.
    """
    datasets = [_read(file) for file in files if _is_dicom(file)]
    images = [_decode(dataset) for dataset in datasets if "PixelData" in dataset]
    if not images:
        raise StudyRefused("The request holds no DICOM image.")
    return images


def stack(images: list[Slice]) -> list[Slice]:
    """One series as a volume, in spatial order. Raises StudyRefused for what is none: wrong is worse than refused."""
    if len({image.header.SeriesInstanceUID for image in images}) > 1:
        raise StudyRefused("The study holds several series; send the one to segment.")
    if not all(image.is_placed for image in images):
        raise StudyRefused("The images have no position in the patient; send a CT or MR series.")
    if len({image.pixels.shape for image in images}) > 1:
        raise StudyRefused("The images differ in size; send one series of equal slices.")
    if any(np.abs(image.normal - images[0].normal).max() > 0.01 for image in images):
        raise StudyRefused("The images are not parallel; send one series of parallel slices.")
    images = sorted(images, key=lambda image: image.height)
    gaps = np.diff([image.height for image in images])
    if len(gaps) and gaps.min() < 0.01:
        raise StudyRefused("Several images lie at one position; send one time point, each slice once.")
    if len(gaps) and np.ptp(gaps) > 0.1 * np.median(gaps):
        raise StudyRefused(
            f"The gaps between slices range from {gaps.min():.1f} to {gaps.max():.1f} mm; send all slices."
        )
    return images


def otsu(values: NDArray[np.float32]) -> float:
    """The threshold that splits the values into the two most compact classes (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below, sum_below = np.cumsum(counts), np.cumsum(counts * centres)
    above, sum_above = below[-1] - below, sum_below[-1] - sum_below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sum_below / below - sum_above / above) ** 2
    return float(edges[1 + int(np.nanargmax(between))])


def body(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The largest connected region of tissue, holes in each slice filled; (slice, row, column) or (row, column).

    The root draws bright tissue together, so that Otsu's two classes are body and air rather than bright and dark.
    """
    if not np.ptp(values):
        return np.zeros(values.shape, bool)
    tissue = ndimage.gaussian_filter(np.sqrt(values - values.min()), (0, 1, 1)[-values.ndim :])
    labelled, count = ndimage.label(tissue > otsu(tissue))
    if not count:
        return np.zeros(values.shape, bool)
    sizes = np.bincount(labelled.ravel())
    largest = labelled == 1 + int(np.argmax(sizes[1:]))
    planes = largest.reshape(-1, *largest.shape[-2:])
    return np.stack([ndimage.binary_fill_holes(plane) for plane in planes]).reshape(values.shape)


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


def _decode(dataset: pydicom.Dataset) -> Slice:
    try:
        pixels = np.asarray(dataset.pixel_array, np.float32)
        slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
        kind = dataset.PhotometricInterpretation
        if not (dataset.SOPInstanceUID and dataset.SeriesInstanceUID):
            raise ValueError("an image without a name cannot be answered for")
    except UNREADABLE as error:
        raise StudyRefused("An image of the study is broken or cannot be decoded here.") from error
    if pixels.ndim == 3 and dataset.get("SamplesPerPixel", 1) == 3:
        pixels = pixels.mean(axis=-1)
    if pixels.ndim != 2:
        raise StudyRefused("This model reads images of one frame.")
    if kind == "PALETTE COLOR":
        raise StudyRefused("This model reads grey values or RGB, not palette colours.")
    pixels = pixels * np.float32(slope) + np.float32(intercept)
    return Slice(dataset, pixels.max() - pixels if kind == "MONOCHROME1" else pixels)
