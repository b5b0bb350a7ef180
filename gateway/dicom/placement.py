"""Which plane of which mask belongs to which image.

A part that names ``dicom_image`` belongs to that image. Any other holds (time point, slice, row, column) and belongs to
the series it names, else to the first series that it fits, in spatial order; the frames of a multi-frame image count as
slices. A mask of one time point over a series of several belongs to the first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.dicom.instances import Instance, group_by_series, spatial_order
from gateway.dicom.palettes import LUT, Colour, colour, from_palette
from gateway.errors import AnswerInvalid

Mask = NDArray[np.uint8]
Key = tuple[str, int]
"""An image: its SOP Instance UID and its frame, counted from 0."""

MASKS = ("probability_mask", "boolean_mask", "numeric_label_mask", "heatmap")


@dataclass(frozen=True)
class Layer:
    """One mask of an answer: (slice, row, column) uint8, the name and colour of each label in it, and where it lies.

    A mask without labels has one name, under 1.
    """

    part: dict[str, Any]
    planes: Mask
    names: dict[int, str]
    tints: dict[int, Colour]
    lut: LUT | None
    where: dict[Key, int] = field(default_factory=dict)

    def at(self, key: Key) -> Mask | None:
        """The plane over an image, if there is one."""
        index = self.where.get(key)
        return None if index is None else self.planes[index]


def layers(instances: Sequence[Instance], answer: dict[str, Any], buffers: Sequence[Any]) -> list[Layer]:
    """The masks of an answer, each at its place. Raises AnswerInvalid for one that fits no series or image."""
    series = {uid: list(images(spatial_order(found))) for uid, found in group_by_series(instances).items()}
    palettes = answer.get("palettes", {})
    found, colours = list[Layer](), map(colour, count())
    for index, (part, buffer) in enumerate(zip(answer.get("parts", []), buffers, strict=True)):
        if part["binary_type"] not in MASKS:
            continue
        planes = _planes(part, buffer)
        lut = from_palette(palettes.get(part.get("palette"))) if part["binary_type"] == "heatmap" else None
        where = _named(part, instances) if "dicom_image" in part else _fitting(part, planes, series)
        if where is None:
            shape = " x ".join(map(str, planes.shape))
            raise AnswerInvalid(f"/parts/{index}/binary_data_shape", f"A mask of {shape} fits no series of the study.")
        names = _names(part)
        found.append(Layer(part, planes, names, dict(zip(names, colours, strict=False)), lut, where))
    return found


def images(instances: Sequence[Instance]) -> Iterator[tuple[Instance, int]]:
    """Each image of one series with its frame, in the order in which masks count slices."""
    return ((one, frame) for one in instances for frame in range(one.frames))


def frame_index(number: int | None) -> int:
    """A ``frame_number`` as an index from 0: DICOM counts frames from 1; 0 is taken for the first as well."""
    return max(0, (number or 1) - 1)


def _names(part: dict[str, Any]) -> dict[int, str]:
    if part["binary_type"] == "numeric_label_mask":
        return {int(key): str(name) for key, name in part["label_map"].items()}
    return {1: str(part.get("label", part["binary_type"]))}


def _planes(part: dict[str, Any], buffer: Any) -> Mask:
    shape = part["binary_data_shape"]
    size = (shape.get("timepoints", 1) * shape.get("depth", 1), shape["height"], shape["width"])
    array = buffer if isinstance(buffer, np.ndarray) else np.frombuffer(buffer, np.uint8)
    return array.reshape(size)


def _named(part: dict[str, Any], instances: Sequence[Instance]) -> dict[Key, int] | None:
    image = part["dicom_image"]
    frame, uid = frame_index(image.get("frame_number")), image["SOPInstanceUID"]
    return {(uid, frame): 0} if any(one.sop_instance_uid == uid and frame < one.frames for one in instances) else None


def _fitting(
    part: dict[str, Any], planes: Mask, series: dict[str, list[tuple[Instance, int]]]
) -> dict[Key, int] | None:
    named = part.get("SeriesInstanceUID")
    for uid, found in series.items():
        if named not in (None, uid) or not found:
            continue
        first = [pair for pair in found if pair[0].time_point == 0]
        size = (found[0][0].rows, found[0][0].columns)
        for candidates in (found, first):
            if planes.shape == (len(candidates), *size):
                return {(one.sop_instance_uid, frame): index for index, (one, frame) in enumerate(candidates)}
    return None
