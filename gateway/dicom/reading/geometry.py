"""The place of a pixel in the patient: (slice, row, column) index -> millimetres.

DICOM counts LPS: x to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1). NIfTI counts RAS: x and y
the other way. Indices are of pixel centres and begin at 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom import Dataset

from gateway.dicom.reading.attributes import Vector, functional_group, number, numbers, unreadable
from gateway.dicom.reading.redaction import naming
from gateway.errors import StudyRefused

if TYPE_CHECKING:
    from gateway.dicom.reading.instances import Instance

Affine = NDArray[np.float64]
"""(4, 4) float64: homogeneous (slice, row, column, 1) -> (x, y, z, 1) mm."""

ORTHONORMAL = 1e-3
"""How far direction cosines may be from unit length and right angles: they are often written with four digits."""

EVEN_MM, EVEN_RATIO = 0.01, 0.01
"""How far a slice may lie from an even grid: a hundredth of a millimetre, or of the step from slice to slice."""

GRID_MM, GRID_RATIO = 0.3, 0.1
"""How far a slice may lie from the grid that fits best: scanners write positions with one decimal, tables jitter."""

MISSING_STEPS = 1.5
"""A gap of so many usual steps tells of missing slices, however far a slice may lie from the grid."""


def is_orthonormal(orientation: ArrayLike) -> bool:
    """Return True if six direction cosines are two perpendicular unit vectors, as PS3.3 C.7.6.2.1.1 demands."""
    (a, b, c), (d, e, f) = np.asarray(orientation, dtype=np.float64).reshape(2, 3).tolist()
    off = a * a + b * b + c * c - 1, d * d + e * e + f * f - 1, a * d + b * e + c * f
    return all(abs(each) < ORTHONORMAL for each in off)


def normal(orientation: ArrayLike) -> Vector:
    """The unit normal of a slice, (3,): row direction x column direction. Raises StudyRefused unless orthonormal."""
    if not is_orthonormal(orientation):
        raise StudyRefused("The image orientation is not two perpendicular unit vectors.")
    row, column = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    across = np.cross(row, column)
    return np.asarray(across / np.linalg.norm(across), dtype=np.float64)


def pixel_spacing(instance: Instance) -> Vector:
    """(2,) mm: between rows, between columns (PS3.3 10.7.1.3). Raises StudyRefused when absent or not positive."""
    with naming(instance.source):
        size = stated_spacing(functional_group(instance.header, "PixelMeasuresSequence"))
        if size is None:
            raise StudyRefused("An image has no pixel spacing, so its size in millimetres is unknown.")
        return size


def stated_spacing(measures: Dataset) -> Vector | None:
    """(2,) mm, as ``pixel_spacing``, of the dataset that holds it; None when absent. Raises StudyRefused."""
    size = numbers(measures, "PixelSpacing", 2)
    if size is not None and size.min() <= 0:
        raise unreadable("PixelSpacing", "is not positive")
    return size


def positions(instances: Sequence[Instance]) -> Vector:
    """(n, 3) mm LPS. Raises StudyRefused when an image has none, or lies in another plane than the first."""
    first = instances[0].orientation
    for image in instances:
        if image.position is None or image.orientation is None or first is None:
            raise StudyRefused("An image has no valid position and orientation in the patient.")
        if np.abs(image.orientation - first).max() > ORTHONORMAL:
            raise StudyRefused("The images of the series are not parallel.")
    return np.array([image.position for image in instances], dtype=np.float64)


def slice_gaps(instances: Sequence[Instance]) -> Vector:
    """(n - 1,) mm from each image to the next along the normal, signed; for one time point. Raises as ``positions``."""
    along = positions(instances) @ normal(_orientation(instances[0]))
    return np.diff(along)


def affine(instances: Sequence[Instance]) -> Affine:
    """(4, 4) float64: index (slice, row, column) -> patient mm LPS, for one image or a time point's sorted slices.

    A single image steps by SpacingBetweenSlices, else SliceThickness, else 1 mm along its normal. A tilted gantry
    gives a sheared matrix, which is what it scanned. Raises StudyRefused when sizes, spacings or directions differ
    or slices are uneven.
    """
    first, between = instances[0], pixel_spacing(instances[0])
    for image in instances[1:]:
        if (image.rows, image.columns) != (first.rows, first.columns):
            raise StudyRefused("The images of the series differ in rows or columns.")
        if not np.allclose(pixel_spacing(image), between, rtol=1e-4, atol=0):
            raise StudyRefused("The images of the series differ in pixel spacing.")
    where = positions(instances)
    row, column = _orientation(first).reshape(2, 3)
    matrix = np.eye(4)
    matrix[:3, 0] = _step(first, where)
    matrix[:3, 1] = column * between[0]
    matrix[:3, 2] = row * between[1]
    matrix[:3, 3] = where[0]
    return matrix


def _step(first: Instance, where: Vector) -> Vector:
    """The vector from one slice to the next."""
    across = normal(_orientation(first))
    if len(where) == 1:
        with naming(first.source):
            measures = functional_group(first.header, "PixelMeasuresSequence")
            depths = [number(measures, name) for name in ("SpacingBetweenSlices", "SliceThickness")]
        return across * next((abs(depth) for depth in depths if depth), 1.0)
    step: Vector = (where[-1] - where[0]) / (len(where) - 1)
    drift = np.linalg.norm(where - where[0] - np.arange(len(where))[:, None] * step, axis=1)
    height = abs(float(step @ across))
    if (
        height > EVEN_MM
        and max(EVEN_MM, EVEN_RATIO * height) < drift.max()
        and off_grid(where) <= grid_tolerance(height)
    ):
        return fit_grid(where)[1]
    if height <= EVEN_MM or drift.max() > max(EVEN_MM, EVEN_RATIO * height):
        gaps = np.abs(np.diff(where @ across))
        raise StudyRefused(
            f"The slices are not evenly spaced: from one to the next it is {gaps.min():.2f} to {gaps.max():.2f} mm."
        )
    return step


def _orientation(instance: Instance) -> Vector:
    if instance.orientation is None:
        raise StudyRefused("An image has no valid position and orientation in the patient.")
    return instance.orientation


def fit_grid(where: Vector) -> tuple[Vector, Vector]:
    """The first place and the step of the even grid, by least squares, nearest to (n, 3) places; n is 2 or more."""
    index = np.arange(len(where)) - (len(where) - 1) / 2
    step = index @ where / (index @ index)
    return where.mean(axis=0) + index[0] * step, step


def off_grid(where: Vector) -> float:
    """mm from the even grid to the place that lies furthest from it."""
    first, step = fit_grid(where)
    return float(np.linalg.norm(where - first - np.arange(len(where))[:, None] * step, axis=1).max())


def grid_tolerance(step: float, ratio: float | None = None) -> float:
    """mm that a slice may lie from the grid; ``ratio`` is an author's own, in steps."""
    return max(EVEN_MM, min(GRID_MM, GRID_RATIO * step) if ratio is None else ratio * step)


def spacing(matrix: Affine) -> Vector:
    """(3,) mm between slices, rows and columns."""
    return np.asarray(np.linalg.norm(matrix[:3, :3], axis=0), dtype=np.float64)


def to_patient(matrix: Affine, indices: ArrayLike) -> Vector:
    """(..., 3) indices (slice, row, column) -> (..., 3) mm."""
    points = np.asarray(indices, dtype=np.float64)
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)


def to_index(matrix: Affine, millimetres: ArrayLike) -> Vector:
    """(..., 3) mm -> (..., 3) indices (slice, row, column), fractional. The inverse of ``to_patient``."""
    points = np.asarray(millimetres, dtype=np.float64) - matrix[:3, 3]
    return np.asarray(points @ np.linalg.inv(matrix[:3, :3]).T, dtype=np.float64)


def flip_lps_ras(matrix: Affine) -> Affine:
    """An affine to LPS as one to RAS, and the other way: x and y change sign."""
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix, dtype=np.float64)
