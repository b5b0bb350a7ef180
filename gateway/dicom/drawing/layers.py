"""Masks as layers over images: a row for each class of mask, how its values are named and coloured."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.contract.findings import MASKS, Heatmap, Label, LabelMask, Mask, ProbabilityMask, mask_bytes
from gateway.dicom.drawing import render
from gateway.dicom.drawing.palettes import LUT, Colour, colour, lut_of
from gateway.dicom.reading.files import Source

Planes = NDArray[np.uint8]
Key = tuple[Source, int]
"""An image: its file and its frame, counted from 0. Two files may hold one SOP Instance UID, or none."""


@dataclass(frozen=True)
class Style:
    """The look of a mask: the name of each value, and how a plane is blended.

    A region is where a plane is above ``above`` (0 to 255). With a ``lut`` values are shown in its colours, with
    ``by_value`` each value in a colour of its own, else the region in one colour.
    """

    names: Mapping[int, str]
    above: float = 0.0
    lut: LUT | None = None
    by_value: bool = False


@dataclass(frozen=True)
class Layer:
    """A mask to draw: (slice, row, column) uint8, its style, the colour of each name, and the plane of each image."""

    planes: Planes
    style: Style
    tints: Mapping[int, Colour]
    where: Mapping[Key, int] = field(default_factory=dict)

    @property
    def names(self) -> Mapping[int, str]:
        """The names of the values; a mask without labels has one name, under 1."""
        return self.style.names

    @property
    def legend(self) -> dict[str, render.Swatch]:
        """The colour of each name; for a heatmap its palette."""
        lut = self.style.lut
        return {name: self.tints[value] if lut is None else lut for value, name in self.names.items()}

    def at(self, key: Key) -> Planes | None:
        """The plane over an image, if there is one."""
        index = self.where.get(key)
        return None if index is None else self.planes[index]

    def region(self, plane: Planes) -> NDArray[np.bool_]:
        """The pixels of a plane that belong to the finding: above the threshold for a probability, else above 0."""
        return np.asarray(plane > self.style.above)

    def regions(self, plane: Planes) -> list[tuple[NDArray[np.bool_], Colour]]:
        """The regions of a plane with their colours; a heatmap has none."""
        if self.style.lut is not None:
            return []
        if self.style.by_value:
            values = np.unique(plane[plane > 0]).tolist()
            return [(plane == value, self.tints.get(value, colour(value - 1))) for value in values]
        return [(self.region(plane), self.tints[1])]


def blend(rgb: render.RGB, layers: Iterable[Layer], key: Key) -> render.RGB:
    """Draw the planes over an image: heatmaps first, then all regions."""
    planes = [(layer, plane) for layer in layers if (plane := layer.at(key)) is not None]
    for layer, plane in planes:
        if layer.style.lut is not None:
            rgb = render.blend_heatmap(rgb, plane, layer.style.lut)
    return render.blend_regions(rgb, [region for layer, plane in planes for region in layer.regions(plane)])


def layers(findings: Iterable[Any]) -> list[Layer]:
    """Return the masks among ``findings`` as layers, in their order, one colour for each name.

    ``of.frames`` of a mask are the images of its slices, instances with their frames.
    """
    tints, found = dict[str, Colour](), list[Layer]()
    for mask in findings:
        if type(mask) not in STYLES:
            continue
        style = STYLES[type(mask)](mask)
        colours = {value: tints.setdefault(name, colour(len(tints))) for value, name in style.names.items()}
        planes = mask_bytes(mask)
        where = {(one.source, frame): index for index, (one, frame) in enumerate(mask.of.frames)}
        found.append(Layer(planes.reshape(-1, *planes.shape[-2:]), style, colours, where))
    return found


def _name(mask: Any) -> dict[int, str]:
    return {1: mask.label or MASKS[type(mask)].name.replace(" ", "_")}


def _labels(mask: LabelMask) -> Style:
    named = {value: name.name if isinstance(name, Label) else str(name) for value, name in mask.labels.items()}
    return Style(named, by_value=True)


STYLES: Mapping[type, Callable[[Any], Style]] = {
    Mask: lambda mask: Style(_name(mask)),
    ProbabilityMask: lambda mask: Style(_name(mask), above=mask.threshold * 255),
    LabelMask: _labels,
    Heatmap: lambda mask: Style(_name(mask), lut=lut_of(mask.palette)),
}
"""A row for each class of mask."""
