"""The masks of an answer as one label map: each region has a value from 1 on, and a name.

A label map has the grid of what was sent: that of the series, or of the NIfTI file, whose axes a volume may have turned
round.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gateway.contract.findings import Heatmap, LabelMask, ProbabilityMask
from gateway.dicom.reading.geometry import Affine
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.nifti_volumes import NiftiVolume
from gateway.errors import NotAcceptable
from gateway.representations.answer_files import Answered
from gateway.representations.placement import placed_masks

MOST = 255
"""Regions of one label map, whose values are uint8."""
LAYER_BYTES = 1 << 30
"""Bytes of all layers of regions that overlap, which a file has one after another: 13 of 300 slices of 512 x 512."""
TOO_MANY_LAYERS = (
    f"So many regions of the answer overlap that their layers exceed {LAYER_BYTES >> 30} GiB: let the last "
    "one cover the others by result_overlap last, or ask the model's own route for all masks."
)
OVERLAP = (
    "Masks of the answer overlap, and a label map has one value a voxel: ask for result_extension .seg.nrrd, or let "
    "the last one cover the others by result_overlap last."
)
Voxels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Region:
    """A region of an answer: its name, its slices, rows and columns, and its voxels.

    The voxels are found when they are wanted: a mask of a hundred labels would be a hundred arrays of its size.
    """

    name: str
    shape: tuple[int, ...]
    inside: Callable[[], NDArray[np.bool_]]
    """Returns the voxels: bool, (slice, row, column)."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Regions on one grid, that of the volume or the image ``place``."""

    regions: Sequence[Region]
    place: Any

    @classmethod
    def of(cls, answer: Answered, source: Sequence[Instance]) -> Self | None:
        """Return the regions of an answer's masks in their order; None for an answer without any.

        Raises AnswerInvalid for a mask that fits no image of ``source``, NotAcceptable for masks on several grids, on
        images without a place in the patient, and for more than 255 regions.
        """
        masks = [one for one in placed_masks(answer.json, answer.buffers, source) if not isinstance(one, Heatmap)]
        if not masks:
            return None
        matrices = [getattr(mask.of, "affine", None) for mask in masks]  # type: ignore[union-attr]
        affines: list[Affine] = [matrix for matrix in matrices if matrix is not None]
        if len(affines) < len(masks):
            raise NotAcceptable("A mask lies on images that are no volume, so that it has no place in a label map.")
        regions = list(_named(_regions(masks)))
        if not regions:
            return None
        grids = {region.shape for region in regions}
        if len(grids) > 1 or not all(np.allclose(matrix, affines[0]) for matrix in affines):
            raise NotAcceptable("The masks lie on several images, which one label map cannot hold; ask for json.")
        if len(regions) > MOST:
            raise NotAcceptable(f"The answer has more than {MOST} regions, which one label map cannot hold.")
        return cls(regions, masks[0].of)  # type: ignore[union-attr]

    @property
    def names(self) -> dict[str, int]:
        """The value of each region by its name."""
        return {region.name: value for value, region in enumerate(self.regions, start=1)}

    def array(self, *, covers: bool = False) -> Voxels:
        """Return the values: uint8, (slice, row, column) of the volume, 0 outside.

        With ``covers`` the last of regions that overlap covers the others; else it raises NotAcceptable.
        """
        values = np.zeros(self.shape, np.uint8)
        for value, region in enumerate(self.regions, start=1):
            inside = region.inside()
            if not covers and values[inside].any():
                raise NotAcceptable(OVERLAP)
            values[inside] = value
        return values

    def layers(self) -> list[tuple[Voxels, dict[str, int]]]:
        """Return label maps in which no region overlaps another, each with the values of its regions by name.

        Raises NotAcceptable for more of them than ``LAYER_BYTES``.
        """
        layers: list[tuple[Voxels, dict[str, int]]] = []
        for region in self.regions:
            inside = region.inside()
            layer = next((one for one in layers if not one[0][inside].any()), None)
            if layer is None:
                if (len(layers) + 1) * inside.size > LAYER_BYTES:
                    raise NotAcceptable(TOO_MANY_LAYERS)
                layer = np.zeros(self.shape, np.uint8), {}
                layers.append(layer)
            values, names = layer
            names[region.name] = len(names) + 1
            values[inside] = names[region.name]
        return layers

    @property
    def shape(self) -> tuple[int, ...]:
        """Slices, rows, columns."""
        return self.regions[0].shape

    def as_sent(self, values: Voxels) -> tuple[Voxels, Affine]:
        """Return values of the volume, (slice, row, column), on the grid of what was sent, and the affine to mm LPS."""
        if isinstance(self.place, NiftiVolume):
            return self.place.as_in_file(values), self.place.file_affine
        return values, self.place.affine


def _regions(masks: Iterable[Any]) -> Iterator[Region]:
    for mask in masks:
        array = mask.array if mask.array.ndim == 3 else mask.array[None]
        if isinstance(mask, LabelMask):
            for value in sorted(mask.labels):
                label = mask.labels[value]
                name = label if isinstance(label, str) else label.name
                yield Region(name, array.shape, partial(np.equal, array, value))
        elif isinstance(mask, ProbabilityMask):  # of 0 to 255, as answers have them
            yield Region(mask.label, array.shape, partial(np.greater_equal, array, 255 * mask.threshold))
        else:
            yield Region(mask.label, array.shape, partial(np.not_equal, array, 0))


def _named(regions: Iterable[Region]) -> Iterator[Region]:
    """Give each region a name of its own: a number behind one that is there already."""
    known = set[str]()
    for number, region in enumerate(regions, start=1):
        name = stem = region.name or f"region {number}"
        while name in known:
            name = f"{stem} {number}"
            number += 1
        known.add(name)
        yield replace(region, name=name)
