"""Volume and Image of a tensor: an array that was sent in place of DICOM files, with what its sender states of it.

What only DICOM states is refused when a model reads it, and never made up.
"""

from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from gateway.contract.requests import measure, reserve
from gateway.dicom.reading.attributes import Vector
from gateway.dicom.reading.geometry import Affine
from gateway.dicom.reading.geometry import spacing as spacing_of
from gateway.dicom.reading.instances import MAX_FRAMES, Instance
from gateway.dicom.reading.no_header import NoHeader
from gateway.dicom.volumes.images import Array, Image, Volume
from gateway.errors import LimitExceeded, StudyRefused

TOLERANCE = 1e-3
"""How far, in ratio, a stated spacing may be from that of a stated affine: both are often rounded."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Stated:
    """A tensor, and what its sender states of it, None for what is not stated.

    ``array`` has the axes (slice, row, column), (row, column) or (row, column, 3). ``spacing`` is in mm, one for each
    of the axes of space, and ``affine`` (4, 4), both as those of a Volume; ``modality`` as in DICOM.
    """

    name: str
    array: Array
    spacing: Vector | None = None
    affine: Affine | None = None
    modality: str | None = None

    def required(self, what: str, value: T | None) -> T:
        """Return ``value``, which a model reads. Raises StudyRefused where it is not stated."""
        if value is None:
            raise StudyRefused(
                f"The model needs the {what} of {self.name}, which the request does not state: send the tensor "
                f"{self.name}.{what} too.",
                private=f"no {what} of a tensor",
            )
        return value

    def instance(self, file: BinaryIO, frames: int, size: tuple[int, int]) -> Instance:
        """Return the tensor as the one instance of its images, ``size`` rows and columns, known by its name.

        Raises StudyRefused, LimitExceeded.
        """
        if not self.array.size:
            raise StudyRefused(f"The tensor {self.name} has no elements.", private="an empty tensor")
        if frames > MAX_FRAMES:
            raise LimitExceeded("MAX_FRAMES", MAX_FRAMES, "slices", what="A tensor")
        return Instance(file, NoHeader(), self.name, self.name, None, None, None, *size, frames)


class TensorVolume(Volume):
    """A tensor as a Volume. ``array`` and ``stored`` are read-only where they are the sent bytes."""

    def __init__(self, stated: Stated, file: BinaryIO) -> None:
        """Raises StudyRefused for what is no volume, LimitExceeded."""
        if stated.affine is not None:
            check_affine(stated)
        count, rows, columns = stated.array.shape
        instance = stated.instance(file, count, (rows, columns))
        frames = tuple((instance, number) for number in range(count))
        for name, value in {"_stated": stated, "frames": frames, "_loaded": {}, "tilt": 0.0, "remarks": ()}.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen

    _stated: Stated

    @property
    def affine(self) -> Affine:
        """See ``Volume``. Raises StudyRefused where it is not stated."""
        return self._stated.required("affine", self._stated.affine)

    @property
    def spacing(self) -> Vector:
        """See ``Volume.spacing``. Raises StudyRefused where it is not stated."""
        if self._stated.spacing is None and self._stated.affine is not None:
            return spacing_of(self._stated.affine)
        return self._stated.required("spacing", self._stated.spacing)

    @property
    def modality(self) -> str:
        """As stated. Raises StudyRefused where it is not."""
        return self._stated.required("modality", self._stated.modality)

    @property
    def array(self) -> NDArray[np.float32]:
        """(slice, row, column) float32; the sent bytes themselves where they are FP32. Raises LimitExceeded."""
        values: NDArray[np.float32] = self._once("array", lambda: as_float32(self._stated.array))
        return values

    @property
    def stored(self) -> Array:
        """(slice, row, column) as it was sent."""
        return self._stated.array

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        slices, rows, columns = self._stated.array.shape
        return slices, rows, columns

    def __repr__(self) -> str:
        return f"<Volume {self.shape} of a tensor>"


class TensorImage(Image):
    """A tensor as an Image: grey (row, column), or (row, column, 3) uint8 RGB."""

    def __init__(self, stated: Stated, file: BinaryIO) -> None:
        """Raises StudyRefused for an array that is no image."""
        rows, columns = stated.array.shape[:2]
        frames = ((stated.instance(file, 1, (rows, columns)), 0),)
        for name, value in {"_stated": stated, "frames": frames, "_loaded": {}}.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen

    _stated: Stated

    @property
    def modality(self) -> str:
        """As stated. Raises StudyRefused where it is not."""
        return self._stated.required("modality", self._stated.modality)

    @property
    def array(self) -> Array:
        """(row, column) float32, or (row, column, 3) uint8; the sent bytes themselves where they are of that type."""
        if self._stated.array.ndim == 3:
            return self._stated.array
        return self._once("array", lambda: as_float32(self._stated.array))

    @property
    def stored(self) -> Array:
        """As it was sent."""
        return self._stated.array

    @property
    def spacing(self) -> Vector | None:
        """(2,) mm as stated, None where it is not."""
        return self._stated.spacing

    @property
    def affine(self) -> Affine | None:
        """None: a tensor of an image does not say where it lies in the patient."""
        return None

    def __repr__(self) -> str:
        return f"<Image {self.shape} of a tensor>"


def as_float32(array: Array) -> NDArray[np.float32]:
    """Return the values as float32, without a copy where they are. Raises LimitExceeded."""
    if array.dtype != np.float32:
        reserve(4 * array.size)
    with measure("decode"):
        return array.astype(np.float32, copy=False)


def check_affine(stated: Stated) -> None:
    """Check that an affine leads from voxels to mm, and agrees with a stated spacing. Raises StudyRefused."""
    affine = stated.affine
    assert affine is not None  # the caller has one
    size = np.linalg.norm(affine[:3, :3], axis=0)
    if not (affine[3] == (0, 0, 0, 1)).all() or not size.all() or abs(np.linalg.det(affine[:3, :3] / size)) < TOLERANCE:
        raise StudyRefused(
            f"{stated.name}.affine is no affine of a volume: its last row is 0, 0, 0, 1, and its first three columns "
            "are the steps of slice, row and column in mm.",
            private="an affine that is singular",
        )
    if stated.spacing is not None and not np.allclose(size, stated.spacing, rtol=TOLERANCE, atol=0):
        raise StudyRefused(
            f"{stated.name}.spacing is not the length of the steps of {stated.name}.affine: send one of them, or both "
            "in agreement.",
            private="a spacing that is not that of the affine",
        )
