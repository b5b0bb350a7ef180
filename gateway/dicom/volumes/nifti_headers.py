"""The header of a NIfTI file as hostile bytes: the grid of its voxels, their type and scale, where they lie in mm.

nibabel reads the fields; what they say is judged here. Sentences quote nothing from the file but codes and counts.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.dicom.reading.files import Source, opened, refusing
from gateway.dicom.reading.geometry import Affine
from gateway.dicom.reading.holes import HEAD, head_of
from gateway.dicom.reading.nifti_heads import GZIP, NiftiKind, nifti_kind, unpacked_head
from gateway.dicom.volumes.nifti_forms import place_of
from gateway.dicom.volumes.nifti_library import nibabel
from gateway.errors import StudyRefused

LARGEST_EXTENSION = 16 << 20
"""Bytes between the header and the voxels: a copy of a DICOM header has some thousand."""
_QUIET = logging.Logger("gateway.nifti")
"""nibabel reports here what it mends; a logger of its own has no handler."""
_QUIET.addHandler(logging.NullHandler())
_KINDS = "iuf"
"""numpy's kinds of the voxels that are read: whole numbers and floating point, of 8 bytes at most."""


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """A NIfTI file by its header.

    ``shape`` is (slice, row, column), the reverse of the file's first three axes; ``dtype`` has the file's byte order.
    The voxels begin at byte ``offset`` of the unpacked file, ``slope`` and ``inter`` make values of them, and
    ``affine`` leads from (slice, row, column) to mm LPS. ``fields`` is nibabel's header.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    affine: Affine
    remarks: tuple[str, ...]
    fields: Any

    @property
    def is_scaled(self) -> bool:
        """Return True if values are not the stored numbers."""
        return (self.slope, self.inter) != (1, 0)

    @property
    def nbytes(self) -> int:
        """Bytes of the voxels, a whole number of any size: a header may state what no memory has."""
        slices, rows, columns = self.shape
        return slices * rows * columns * self.dtype.itemsize


def read_nifti_header(file: Source) -> NiftiHeader:
    """Read the header of a file, packed by gzip or not. Raises StudyRefused for what cannot be read for certain."""
    with opened(file) as source:
        head = head_of(source)
    if nifti_kind(head) is NiftiKind.PAIR:
        raise StudyRefused(
            "A NIfTI header has its voxels in another file (.hdr and .img, as of Analyze 7.5): send one .nii or .nii.gz"
            " file, as nibabel.save(nibabel.load('scan.hdr'), 'scan.nii.gz') writes it.",
            private="a pair of NIfTI files",
        )
    fields = _fields(unpacked_head(head, HEAD) if head.startswith(GZIP) else head)
    with refusing("The header of a NIfTI file is broken and cannot be read."):
        shape, dtype = _shape(fields), _dtype(fields)
        slope, inter = fields.get_slope_inter()
        offset = int(fields.get_data_offset())
        affine, remarks = place_of(fields, shape)
    if not fields.single_vox_offset <= offset <= LARGEST_EXTENSION:
        raise StudyRefused(
            f"The voxels of a NIfTI file begin at byte {offset} (vox_offset), which is within its header or beyond all"
            " extensions of one.",
            private="vox_offset",
        )
    scale = (1.0, 0.0) if slope is None else (float(slope), float(inter or 0))
    return NiftiHeader(shape, dtype, offset, *scale, affine, tuple(remarks), fields)


def _fields(head: bytes) -> Any:
    """The fields of a header by nibabel, mended where the standard leaves no doubt."""
    with refusing("The header of a NIfTI file is broken and cannot be read."):
        kind = _library().Nifti1Header if 348 in _sizes(head) else _library().Nifti2Header
        fields = kind(head[: kind.template_dtype.itemsize], check=False)
        fields.check_fix(logger=_QUIET, error_level=logging.ERROR)
        return fields


def _sizes(head: bytes) -> set[int]:
    return {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}


def _library() -> Any:
    try:
        return nibabel()
    except ImportError as error:
        raise StudyRefused(f"{error}.", private="nibabel is not installed") from error


def _shape(fields: Any) -> tuple[int, int, int]:
    """(slice, row, column) of a file of two axes, of three, or of more that have a length of 1."""
    axes = [int(length) for length in fields.get_data_shape()]
    if not 2 <= len(axes) <= 7 or min(axes) < 1:
        raise StudyRefused(
            "A NIfTI file has no voxels of three axes (dim): each is 1 or longer.", private="dim of a NIfTI file"
        )
    columns, rows, slices, times, *more = axes + [1] * (7 - len(axes))
    if times > 1:
        raise StudyRefused(
            f"A NIfTI file holds a time series of {times} volumes (dim[4]); a Volume is one: send one of them, or their"
            " mean.",
            private="a time series of NIfTI",
        )
    if max(more) > 1:
        raise StudyRefused(
            "A NIfTI file has several values for each voxel (dim[5]); a Volume has one: send one component.",
            private="vectors of NIfTI",
        )
    return slices, rows, columns


def _dtype(fields: Any) -> np.dtype[Any]:
    code = int(fields["datatype"])
    try:
        dtype: np.dtype[Any] = fields.get_data_dtype()
        known = dtype.kind in _KINDS and dtype.itemsize <= 8
    except _library().spatialimages.HeaderDataError:
        known = False
    if not known:
        raise StudyRefused(
            f"A NIfTI file holds voxels of datatype {code}, such as colour or complex numbers; a Volume has whole"
            " numbers or floating point of up to 64 bits: convert the file.",
            private="datatype of a NIfTI file",
        )
    return dtype
