"""Segmentation of the body, shared by the example models."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gateway import Image


def brightness(image: Image) -> NDArray[np.float32]:
    """(row, column) float32, bright where dense: colour as its mean, MONOCHROME1 inverted (PS3.3 C.7.6.3.1.2)."""
    values = np.asarray(image.array, np.float32)
    if values.ndim == 3:
        return np.asarray(values.mean(axis=-1))
    return values.max() - values if image.header.PhotometricInterpretation == "MONOCHROME1" else values


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
