"""NIfTI files as tests send them, written by nibabel."""

import gzip
import struct
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image, Nifti1Pair
from nibabel.nifti2 import Nifti2Image

Array = np.ndarray[Any, Any]
SHAPE = (4, 3, 2)
"""Columns, rows and slices."""
VOXELS = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
DIM, DATATYPE, PIXDIM, OFFSET, SLOPE, UNITS, QFORM, SFORM, MAGIC = 40, 70, 76, 108, 112, 123, 252, 254, 344
"""Where a header of NIfTI-1 has these fields (nifti1.h)."""


def nifti(array: Array = VOXELS, affine: Array | None = None, *, unit: str = "mm", two: bool = False) -> bytes:
    """A file of (column, row, slice) with its affine to RAS, also as its qform; the scanner's coordinates."""
    affine = np.diag([-1.0, -1, 1, 1]) if affine is None else affine
    image = (Nifti2Image if two else Nifti1Image)(array, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units(unit)
    return bytes(image.to_bytes())


def patched(data: bytes, at: int, form: str, *values: Any) -> bytes:
    """A little-endian file with other values at a place of its header."""
    changed = bytearray(data)
    struct.pack_into(f"<{form}", changed, at, *values)
    return bytes(changed)


def big_endian(data: bytes) -> bytes:
    """The same file in the other byte order."""
    image: Any = Nifti1Image.from_bytes(data)
    header = image.header.as_byteswapped()
    header["vox_offset"] = 352
    voxels = np.asarray(image.dataobj.get_unscaled()).astype(header.get_data_dtype())
    return bytes(header.binaryblock) + bytes(4) + voxels.tobytes(order="F")


def pair_header() -> bytes:
    """The .hdr of a pair."""
    return bytes(Nifti1Pair(VOXELS, np.eye(4)).header.binaryblock)


def packed(data: bytes) -> bytes:
    """A file as .nii.gz."""
    return gzip.compress(data, mtime=0)
