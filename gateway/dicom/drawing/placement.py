"""Which plane of which mask belongs to which image.

A part that names ``dicom_image`` belongs to that image. Any other holds (time point, slice, row, column) and belongs to
the series it names, else to the first series that it fits, in spatial order; the frames of a multi-frame image count as
slices. A mask of one time point over a series of several belongs to the first.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.contract.findings import LabelMask, ProbabilityMask
from gateway.dicom.drawing.palettes import LUT, Colour, colour, from_palette
from gateway.dicom.reading.files import Source
from gateway.dicom.reading.instances import Instance, group_by_series, spatial_order
from gateway.errors import AnswerInvalid

Mask = NDArray[np.uint8]
Key = tuple[Source, int]
"""An image: its file and its frame, counted from 0. Two files may hold one SOP Instance UID, or none."""
Images = list[tuple[Instance, int]]

MASKS = ("probability_mask", "boolean_mask", "numeric_label_mask", "heatmap")


@dataclass(frozen=True)
class Layer:
    """One mask of an answer: (slice, row, column) uint8, the name and colour of each label in it, and where it lies.

    A mask without labels has one name, under 1. ``lut`` is the palette of a heatmap.
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

    def region(self, plane: Mask) -> NDArray[np.bool_]:
        """Where a plane says that there is something: above the threshold for a probability, else above 0."""
        is_probability = self.part["binary_type"] == "probability_mask"
        threshold = float(self.part.get("probability_threshold", 0.5)) * 255 if is_probability else 0.0
        return np.asarray(plane > threshold)


def layers(instances: Sequence[Instance], answer: dict[str, Any], buffers: Sequence[Any]) -> list[Layer]:
    """The masks of an answer, each at its place, one colour for each name.

    Raises AnswerInvalid for a mask that fits no series or image.
    """
    series = {uid: list(images(spatial_order(found))) for uid, found in group_by_series(instances).items()}
    palettes, tints, found = answer.get("palettes", {}), dict[str, Colour](), list[Layer]()
    for index, (part, buffer) in enumerate(zip(answer.get("parts", []), buffers, strict=True)):
        if part["binary_type"] not in MASKS:
            continue
        planes, names = _planes(part, buffer), _names(part)
        lut = from_palette(palettes.get(part.get("palette"))) if part["binary_type"] == "heatmap" else None
        where = _named(part, planes, instances) if "dicom_image" in part else _fitting(part, planes, series)
        if not where:
            raise _misfit(index, part, planes)
        colours = {label: tints.setdefault(name, colour(len(tints))) for label, name in names.items()}
        found.append(Layer(part, planes, names, colours, lut, where))
    return found


def over(findings: Iterable[Any], below: Sequence[Layer]) -> list[Layer]:
    """Masks that were read from segmentations as layers on their own images, above those of ``below``.

    Each is a Mask, ProbabilityMask or LabelMask, (slice, row, column) in the order of ``of.frames``.
    """
    tints = {name: layer.tints[label] for layer in below for label, name in layer.names.items()}
    found = list[Layer]()
    for mask in findings:
        part, names = _described(mask)
        colours = {label: tints.setdefault(name, colour(len(tints))) for label, name in names.items()}
        where = {(one.source, frame): index for index, (one, frame) in enumerate(mask.of.frames)}
        found.append(Layer(part, _bytes(mask.array), names, colours, None, where))
    return found


def images(instances: Sequence[Instance]) -> Iterator[tuple[Instance, int]]:
    """Each image of one series with its frame, in the order in which masks count slices."""
    return ((one, frame) for one in instances for frame in range(one.frames))


def frame_index(number: int | None) -> int:
    """A ``frame_number`` as an index from 0: DICOM counts frames from 1; 0 is taken for the first as well."""
    return max(0, (number or 1) - 1)


def _names(part: dict[str, Any]) -> dict[int, str]:
    """The names of what is drawn: a label 0 is background."""
    if part["binary_type"] == "numeric_label_mask":
        return {int(key): str(name) for key, name in part["label_map"].items() if int(key)}
    return {1: str(part.get("label", part["binary_type"]))}


def _described(mask: Any) -> tuple[dict[str, Any], dict[int, str]]:
    """The entry of ``parts`` that an array like this one would have, as far as it is drawn, and its names."""
    if isinstance(mask, LabelMask):
        return {"binary_type": "numeric_label_mask"}, {label: str(name) for label, name in mask.labels.items()}
    if isinstance(mask, ProbabilityMask):
        return {"binary_type": "probability_mask", "probability_threshold": mask.threshold}, {1: mask.label}
    return {"binary_type": "boolean_mask"}, {1: mask.label}


def _bytes(array: Any) -> Mask:
    """Floats of 0 to 1 as uint8 of 0 to 255; all else as it is."""
    scaled = (array * 255).round() if np.issubdtype(array.dtype, np.floating) else array
    return np.asarray(scaled, np.uint8)


def _planes(part: dict[str, Any], buffer: Any) -> Mask:
    shape = part["binary_data_shape"]
    size = (shape.get("timepoints", 1) * shape.get("depth", 1), shape["height"], shape["width"])
    array = np.ascontiguousarray(buffer) if isinstance(buffer, np.ndarray) else np.frombuffer(buffer, np.uint8)
    return array.view(np.uint8).reshape(size)


def _named(part: dict[str, Any], planes: Mask, instances: Sequence[Instance]) -> dict[Key, int]:
    """One plane over the image and frame named, or a plane for each frame where it names none of several."""
    image, where = part["dicom_image"], dict[Key, int]()
    for one in instances:
        if one.sop_instance_uid != image["SOPInstanceUID"] or planes.shape[1:] != (one.rows, one.columns):
            continue
        frame = frame_index(image.get("frame_number"))
        if len(planes) == 1 and frame < one.frames:
            where[one.source, frame] = 0
        elif len(planes) == one.frames and "frame_number" not in image:
            where |= {(one.source, frame): frame for frame in range(one.frames)}
    return where


def _fitting(part: dict[str, Any], planes: Mask, series: dict[str, Images]) -> dict[Key, int]:
    """A plane for each image of the first series that has as many, all of its size."""
    named = part.get("SeriesInstanceUID")
    for uid, found in series.items():
        if named not in (None, uid):
            continue
        for candidates in (found, [pair for pair in found if pair[0].time_point == 0]):
            sizes = {(one.rows, one.columns) for one, _ in candidates}
            if len(planes) == len(candidates) and sizes == {planes.shape[1:]}:
                return {(one.source, frame): index for index, (one, frame) in enumerate(candidates)}
    return {}


def _misfit(index: int, part: dict[str, Any], planes: Mask) -> AnswerInvalid:
    shape = " x ".join(map(str, planes.shape))
    if "dicom_image" in part:
        return AnswerInvalid(f"/parts/{index}/dicom_image", f"A mask of {shape} fits no image of this name.")
    return AnswerInvalid(f"/parts/{index}/binary_data_shape", f"A mask of {shape} fits no series of the study.")
