"""Where the voxels of a NIfTI file lie: its sform or its qform (nifti1.h, METHOD 2 and 3), in mm LPS.

A file may state two places and says by a code what each leads to. The scanner's coordinates (code 1) are those of the
patient, as in DICOM: they go before any other, such as those of an atlas; of two with the same right the sform is
taken, as nibabel, FSL and SPM do. A file without either states no left and right, and is refused.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.dicom.reading.geometry import ORTHONORMAL, Affine, flip_lps_ras
from gateway.errors import StudyRefused

SCANNER = 1
"""NIFTI_XFORM_SCANNER_ANAT: a place in the coordinates of the scanner."""
MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""mm of the unit of space by its code (xyzt_units): most writers leave it out (0) and mean mm."""
SAME_VOXEL = 0.1
"""Voxels by which two places of a file may differ: a quaternion is stored with seven digits."""
SAME_SIZE = 0.01
"""How far, in ratio, the steps of an affine may be from pixdim."""
_SINGULAR = 1e-3


def place_of(fields: Any, shape: Sequence[int]) -> tuple[Affine, list[str]]:
    """Return the affine from (slice, row, column) to mm LPS, and remarks on what else the header states.

    ``fields`` is nibabel's header, ``shape`` (slice, row, column). Raises StudyRefused.
    """
    unit = _unit(fields)
    forms = list(_forms(fields))
    if not forms:
        raise StudyRefused(
            "A NIfTI file does not state where its voxels lie in the patient (sform_code and qform_code are 0), so that"
            " left and right are unknown: write it with its affine.",
            private="no sform and no qform",
        )
    name, code, chosen = min(forms, key=lambda form: form[1] != SCANNER)
    matrix = flip_lps_ras(chosen)[:, [2, 1, 0, 3]]
    matrix[:3] *= unit
    _check(matrix, name)
    return matrix, list(_remarks(name, code, chosen, forms, fields, shape))


def _unit(fields: Any) -> float:
    code = int(fields["xyzt_units"]) & 7
    if code not in MILLIMETRES:
        raise StudyRefused(
            "A NIfTI file states an unknown unit of space (xyzt_units): it is metres, millimetres or micrometres.",
            private="xyzt_units",
        )
    return MILLIMETRES[code]


def _forms(fields: Any) -> Iterator[tuple[str, int, NDArray[np.float64]]]:
    """The name, the code and the affine to RAS of each place that is stated, the sform first."""
    for name in ("sform", "qform"):
        if code := int(fields[f"{name}_code"]):
            read = fields.get_sform if name == "sform" else fields.get_qform
            yield name, code, np.asarray(read(), np.float64)


def _check(matrix: Affine, name: str) -> None:
    """Check that an affine has three axes of some length, its rows and columns at a right angle."""
    size = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.isfinite(matrix).all() or not size.all() or abs(np.linalg.det(matrix[:3, :3] / size)) < _SINGULAR:
        raise StudyRefused(
            f"The {name} of a NIfTI file is no affine of a volume: its three steps are to be finite and independent.",
            private=f"a singular {name}",
        )
    if abs(matrix[:3, 1] @ matrix[:3, 2]) > ORTHONORMAL * size[1] * size[2]:
        raise StudyRefused(
            f"The rows and columns of a NIfTI file are not at a right angle (its {name}): resample it.",
            private=f"a sheared {name}",
        )


def _remarks(
    name: str, code: int, chosen: NDArray[np.float64], forms: Sequence[Any], fields: Any, shape: Sequence[int]
) -> Iterator[str]:
    other = next((form for form in forms if form[0] != name), None)
    if other is not None and _apart(chosen, other[2], shape) > SAME_VOXEL:
        reason = "which leads to the scanner's coordinates" if code == SCANNER else "which goes before the other"
        yield f"The sform and the qform of the NIfTI file differ; the {name} is used, {reason}."
    steps, stated = np.linalg.norm(chosen[:3, :3], axis=0), np.abs(np.asarray(fields["pixdim"][1:4], np.float64))
    if not np.allclose(steps, stated, rtol=SAME_SIZE, atol=0):
        yield f"The voxel sizes that the NIfTI file states (pixdim) are not those of its {name}, which are used."


def _apart(one: NDArray[np.float64], other: NDArray[np.float64], shape: Sequence[int]) -> float:
    """Voxels between the two places of the corner of a volume that lies furthest apart."""
    ends = [(0, length - 1) for length in reversed(shape)]
    corners = np.array([(*corner, 1) for corner in product(*ends)], np.float64)
    step = np.linalg.norm(one[:3, :3], axis=0).min()
    return float(np.linalg.norm(corners @ (one - other)[:3].T, axis=1).max() / step)
