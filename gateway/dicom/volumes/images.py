"""Volume and Image: pixels with their geometry and the instances that they come from.

Nothing is decoded before it is asked for, and nothing is guessed: what is not one even grid of grey voxels is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from gateway.contract.requests import measure
from gateway.dicom.decoding.loading import load_stored, load_values
from gateway.dicom.decoding.pixels import to_rgb
from gateway.dicom.decoding.stored import read_frame
from gateway.dicom.reading.attributes import Vector, text
from gateway.dicom.reading.classify import contents
from gateway.dicom.reading.geometry import Affine, stated_spacing
from gateway.dicom.reading.geometry import affine as affine_of
from gateway.dicom.reading.geometry import spacing as spacing_of
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes.stack import GREY, Frame, group, place, stack
from gateway.errors import StudyRefused

Array = NDArray[Any]


class Sourced:
    """Properties of a Volume, an Image and a Series by the header of their first instance."""

    @property
    def _first(self) -> Instance:
        raise NotImplementedError

    @property
    def header(self) -> Dataset:
        """The dataset of the first instance, without pixels."""
        return self._first.header

    @property
    def series_instance_uid(self) -> str:
        return self._first.series_instance_uid

    @property
    def study_instance_uid(self) -> str:
        return text(self.header, "StudyInstanceUID")

    @property
    def modality(self) -> str:
        """``CT``, ``MR`` ... (PS3.3 C.7.3.1.1.1)."""
        return text(self.header, "Modality")

    @property
    def description(self) -> str:
        """The Series Description."""
        return text(self.header, "SeriesDescription")


@dataclass(frozen=True, eq=False, repr=False)
class Pixels(Sourced):
    """The pixels of a Volume or an Image: ``frames`` names the instance, and its frame from 0, of each slice."""

    frames: tuple[Frame, ...]
    _loaded: dict[str, Array] = field(default_factory=dict, init=False)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The source instances in the order of their slices, each once."""
        return tuple({id(instance): instance for instance, _ in self.frames}.values())

    @property
    def _first(self) -> Instance:
        return self.frames[0][0]

    def _once(self, name: str, load: Callable[[], Array]) -> Array:
        """The stored result of ``load``; with functools.cached_property all volumes would wait for one."""
        if name not in self._loaded:
            with measure("decode"):
                self._loaded[name] = load()
        return self._loaded[name]


@dataclass(frozen=True, eq=False, repr=False)
class Volume(Pixels):
    """Voxels (slice, row, column), the slices in the order of their position along the normal of their planes.

    ``affine`` is (4, 4) float64, index (slice, row, column, 1) -> patient (x, y, z, 1) mm LPS; where a ``tilt``
    (degrees) was accepted it is sheared, as the voxels are. ``remarks`` are sentences on what was no reason to refuse
    the volume and is yet worth knowing.
    """

    affine: Affine
    tilt: float = 0.0
    remarks: tuple[str, ...] = ()

    @property
    def array(self) -> NDArray[np.float32]:
        """(slice, row, column) float32 after the Modality LUT: HU for CT, most often Bq/ml for PET.

        Decoded on first use, with all cores. Raises StudyRefused for pixels that are missing, broken, or need a decoder
        that is not installed; LimitExceeded.
        """
        values: NDArray[np.float32] = self._once("array", lambda: load_values(self.frames))
        return values

    @property
    def stored(self) -> Array:
        """(slice, row, column) values as stored, before the Modality LUT. Decoded on first use; raises as ``array``."""
        return self._once("stored", lambda: load_stored(self.frames))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns; known without decoding."""
        return len(self.frames), self.frames[0][0].rows, self.frames[0][0].columns

    @property
    def spacing(self) -> Vector:
        """(3,) mm from one slice, row and column to the next, along the axes of the affine."""
        return spacing_of(self.affine)

    def __repr__(self) -> str:
        return f"<Volume {self.modality} {self.shape}>"


@dataclass(frozen=True, eq=False, repr=False)
class Image(Pixels):
    """A frame of an instance, of any kind: a CT slice, a radiograph, a frame of ultrasound, a photograph."""

    @property
    def instance(self) -> Instance:
        return self.frames[0][0]

    @property
    def frame(self) -> int:
        """Counted from 0."""
        return self.frames[0][1]

    @property
    def array(self) -> Array:
        """(row, column) float32 after the Modality LUT; of colour (row, column, 3) uint8 RGB.

        Decoded on first use; raises as ``Volume.array``.
        """
        return self._once("array", self._grey if self._is_grey else self._colour)

    @property
    def stored(self) -> Array:
        """(row, column) or (row, column, 3) values as stored. Decoded on first use; raises as ``Volume.array``."""
        return self._once("stored", self._as_stored)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns; known without decoding."""
        return self.instance.rows, self.instance.columns

    @property
    def spacing(self) -> Vector | None:
        """(2,) mm between rows, between columns; None where the image does not say (a photograph, a radiograph).

        Raises StudyRefused for one that is unreadable or not positive.
        """
        with naming(self.instance.source):
            return stated_spacing(group(self.frames[0], "PixelMeasuresSequence"))

    @property
    def affine(self) -> Affine | None:
        """(4, 4) as that of a Volume of one slice; None where the image does not say where it lies in the patient.

        Raises StudyRefused for a number that is unreadable.
        """
        placed = place(self.frames[0])
        if self.spacing is None or placed.position is None or placed.orientation is None:
            return None
        return affine_of([placed])

    def __repr__(self) -> str:
        return f"<Image {self.modality} {self.shape}>"

    @property
    def _is_grey(self) -> bool:
        return text(self.header, "PhotometricInterpretation") in GREY

    def _grey(self) -> Array:
        values: Array = load_values(self.frames)[0]
        return values

    def _as_stored(self) -> Array:
        with naming(self.instance.source):
            return read_frame(self.instance, self.frame)

    def _colour(self) -> Array:
        with naming(self.instance.source):
            return to_rgb(self.header, self._as_stored(), self.frame)


def volume(
    instances: Sequence[Instance],
    *,
    allow_tilt: bool = False,
    spacing_tolerance: float | None = None,
    uneven: bool = False,
) -> Volume:
    """Return a series as a volume, from single-frame images, from multi-frame ones, or from one image.

    Raises StudyRefused with one plain sentence for each reason: several series, frames of reference, orientations,
    sizes or units; colour; slices that are missing, duplicate, uneven or shifted; several time points; a tilted gantry,
    unless ``allow_tilt``.
    """
    stacked = stack(instances, allow_tilt=allow_tilt, spacing_tolerance=spacing_tolerance, uneven=uneven)
    return Volume(stacked.frames, stacked.affine, stacked.tilt, stacked.remarks)


def image(instance: Instance, frame: int = 0) -> Image:
    """Return a frame of an instance, counted from 0. Raises StudyRefused when there is none."""
    with naming(instance.source):
        if not instance.frames:
            raise StudyRefused(
                f"An instance holds no image, but {contents([instance])}; Rows and Columns are missing or 0."
                " Take it as a Study or a Series.",
                private="no image",
            )
        if not 0 <= frame < instance.frames:
            raise StudyRefused(
                f"An image has no frame {frame}: it has {instance.frames}, counted from 0.", private="no such frame"
            )
    return Image(((instance, frame),))
