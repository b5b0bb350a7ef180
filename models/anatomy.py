"""What the example models share: slices in spatial order, and where the body is in them."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from scipy import ndimage

from gateway import StudyRefused


@dataclass(frozen=True)
class Slice:
    """One image: its header and its pixels as float32, (row, column), after the Modality LUT, bright where dense."""

    header: pydicom.Dataset
    pixels: NDArray[np.float32]

    @property
    def height(self) -> float:
        """Position along the normal of the image, mm (PS3.3 C.7.6.2.1.1)."""
        row, column = np.reshape(np.asarray(self.header.ImageOrientationPatient, float), (2, 3))
        return float(np.cross(row, column) @ np.asarray(self.header.ImagePositionPatient, float))


def read_images(files: list[BinaryIO]) -> list[Slice]:
    """Decode each DICOM image among the files of a request, in their order; attachments are passed over."""
    images = [_decode(pydicom.dcmread(file)) for file in files if _is_dicom(file)]
    if not images:
        raise StudyRefused("The request holds no DICOM image.")
    return images


def stack(images: list[Slice]) -> list[Slice]:
    """One series as a volume, in spatial order. Raises StudyRefused for what is none."""
    if len({image.header.SeriesInstanceUID for image in images}) > 1:
        raise StudyRefused("The study holds several series; send the one to segment.")
    if any("ImagePositionPatient" not in image.header for image in images):
        raise StudyRefused("The images have no position in the patient; send a CT or MR series.")
    if len({image.pixels.shape for image in images}) > 1:
        raise StudyRefused("The images differ in size; send one series of equal slices.")
    images = sorted(images, key=lambda image: image.height)
    gaps = np.diff([image.height for image in images])
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


def _decode(dataset: pydicom.Dataset) -> Slice:
    pixels = np.asarray(dataset.pixel_array, np.float32)
    if pixels.ndim == 3 and dataset.get("SamplesPerPixel", 1) == 3:
        pixels = pixels.mean(axis=-1)
    if pixels.ndim != 2:
        raise StudyRefused("This model reads images of one frame.")
    pixels = pixels * np.float32(dataset.get("RescaleSlope", 1)) + np.float32(dataset.get("RescaleIntercept", 0))
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        pixels = pixels.max() - pixels
    return Slice(dataset, pixels)
