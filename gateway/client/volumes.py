"""Masks as NIfTI files on the geometry of their volume. Needs nibabel, the extra ``nifti``."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.dicom.volumes.nifti import write_nifti
from gateway.errors import StudyRefused
from gateway.findings import Heatmap, ProbabilityMask


def write(masks: Iterable[Any], out: Path) -> list[Path]:
    """Write ``mask_N.nii.gz``, N from 1. Raises StudyRefused for a mask on images that are no volume."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, mask in enumerate(masks, start=1):
        matrix = getattr(mask.of, "affine", None)
        if matrix is None:
            raise StudyRefused(f"Mask {number} lies on images that are no volume, so it has no place in a NIfTI file.")
        paths.append(out / f"mask_{number}.nii.gz")
        write_nifti(_values(mask), matrix, paths[-1])
    return paths


def _values(mask: Any) -> NDArray[Any]:
    """(slice, row, column): what is 0 to 1 as float32, all else as uint8."""
    array = mask.array if mask.array.ndim == 3 else mask.array[None]
    if isinstance(mask, ProbabilityMask | Heatmap):
        values = np.asarray(array, np.float32)
        return values / np.float32(255) if array.dtype == np.uint8 else values
    return np.asarray(array, np.uint8)
