"""The axes of a NIfTI file as those of DICOM: turned round where they run against its views, upright or sheared."""

import numpy as np

from gateway.dicom.reading.geometry import Affine, spacing
from gateway.dicom.volumes.stack import MAX_SHIFT_PIXELS
from gateway.errors import StudyRefused

Turns = tuple[bool, bool, bool]
"""Which of the axes (slice, row, column) run against those of the file."""
_ONWARD = np.array([1, 1, -1])
"""The directions in which rows and columns run in DICOM's standard views: left, back and feet."""


def turn(affine: Affine, shape: tuple[int, int, int]) -> tuple[Affine, Turns]:
    """Turn axes round until they run as those of DICOM; return the affine of the turned axes, and which they are."""
    main = np.abs(affine[:3, 1:3]).argmax(axis=0)
    rows, columns = (affine[main[axis], axis + 1] * _ONWARD[main[axis]] < 0 for axis in (0, 1))
    mirrored = np.linalg.det(affine[:3, :3]) > 0
    turned = bool(mirrored ^ rows ^ columns), bool(rows), bool(columns)
    found = affine.copy()
    for axis, length in enumerate(shape):
        if turned[axis]:
            found[:3, 3] += affine[:3, axis] * (length - 1)
            found[:3, axis] *= -1
    return found, turned


def tilt_of(affine: Affine, slices: int, allowed: bool) -> tuple[float, tuple[str, ...]]:
    """Return the angle in degrees between the normal and the way from slice to slice, and a remark on it."""
    across = np.cross(affine[:3, 2], affine[:3, 1])
    height = float(affine[:3, 0] @ across / np.linalg.norm(across))
    aside = float(np.linalg.norm(affine[:3, 0] - across / np.linalg.norm(across) * height))
    tilt = float(np.degrees(np.arctan2(aside, abs(height))))
    if aside * (slices - 1) <= MAX_SHIFT_PIXELS * spacing(affine)[1:].min():
        return tilt, ()
    if not allowed:
        raise StudyRefused(
            f"The slices of a NIfTI file are sheared by {tilt:.1f} degrees, as of a tilted gantry. This model needs"
            " upright ones: resample the file.",
            private="sheared slices",
        )
    return tilt, (f"The slices are sheared by {tilt:.1f} degrees, as the affine says.",)
