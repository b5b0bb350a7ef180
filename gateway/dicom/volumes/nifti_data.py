"""The voxels of a NIfTI file: its bytes, unpacked within the size that its header states."""

import gzip
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.contract.requests import reserve, stop_if_cancelled
from gateway.dicom.decoding.loading import MAX_VOLUME_BYTES
from gateway.dicom.reading.files import Source, opened
from gateway.dicom.reading.instances import MAX_FRAMES
from gateway.dicom.reading.nifti_heads import GZIP
from gateway.dicom.volumes.images import Array
from gateway.dicom.volumes.nifti_headers import NiftiHeader
from gateway.errors import LimitExceeded, StudyRefused

PIECE = 1 << 20
"""Bytes that are unpacked at once."""


def check_limits(nifti: NiftiHeader) -> None:
    """Check the size that a header states. Raises LimitExceeded (``MAX_FRAMES``, ``MAX_VOLUME_BYTES``)."""
    slices, rows, columns = nifti.shape
    if slices > MAX_FRAMES:
        raise LimitExceeded("MAX_FRAMES", MAX_FRAMES, "slices", what="A NIfTI file")
    if max(nifti.nbytes, 4 * slices * rows * columns) > MAX_VOLUME_BYTES:
        raise LimitExceeded("MAX_VOLUME_BYTES", MAX_VOLUME_BYTES, what="A volume")


def read_voxels(file: Source, nifti: NiftiHeader) -> Array:
    """Return the voxels as stored, (slice, row, column) as the axes run in the file, read-only.

    They lie on the bytes of a file in memory. Raises StudyRefused for a file that ends early, goes on or is badly
    packed; LimitExceeded (``max_decoded_bytes``), Cancelled.
    """
    data = _unpacked(file, nifti) if _is_packed(file) else _plain(file, nifti)
    return np.frombuffer(data, nifti.dtype, offset=nifti.offset).reshape(nifti.shape)


def _is_packed(file: Source) -> bool:
    with opened(file) as source:
        return source.read(len(GZIP)) == GZIP


def _plain(file: Source, nifti: NiftiHeader) -> Any:
    """The bytes of a file that is not packed, without a copy where they lie in memory."""
    getbuffer = getattr(file, "getbuffer", None)
    with opened(file) as source:
        data = memoryview(source.read() if getbuffer is None else getbuffer()).toreadonly()
    _check_size(len(data), nifti)
    return data


def _unpacked(file: Source, nifti: NiftiHeader) -> NDArray[np.uint8]:
    """What a gzip file unpacks to, of the size that its header states; that is reserved before it is unpacked."""
    size = nifti.offset + nifti.nbytes
    reserve(size)
    found, count = np.empty(size, np.uint8), 0
    try:
        with opened(file) as source, gzip.GzipFile(fileobj=source) as packed:
            while piece := packed.readinto(found.data[count : count + PIECE]):
                count += piece
                stop_if_cancelled()
            more = len(packed.read(1))  # which checks the CRC of the whole, too
    except (OSError, EOFError, zlib.error) as error:
        raise StudyRefused(
            "A NIfTI file is badly packed by gzip or ends early: pack and send it again.", private=type(error).__name__
        ) from error
    _check_size(count + more, nifti)
    found.flags.writeable = False
    return found


def _check_size(size: int, nifti: NiftiHeader) -> None:
    stated = nifti.offset + nifti.nbytes
    if size != stated:
        fault = "ends before all its voxels" if size < stated else "goes on after its last voxel"
        raise StudyRefused(
            f"A NIfTI file {fault}: its header states {stated} bytes (dim, bitpix and vox_offset). Write it again.",
            private="a NIfTI file of another size",
        )
