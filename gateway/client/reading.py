"""From an answer of protocol 1.0 back to findings, each lying on the images that it was made from."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from gateway.client.answer import Answer
from gateway.contract.findings import (
    Array,
    BoundingBox,
    Classification,
    Conformance,
    Finding,
    Heatmap,
    LabelMask,
    LinearMeasurement,
    Mask,
    ProbabilityMask,
    SecondaryCapture,
    StructuredReport,
)
from gateway.dicom.drawing.marks import Mark, marks
from gateway.dicom.drawing.placement import Layer, layers
from gateway.dicom.reading.files import read_header
from gateway.dicom.reading.instances import Instance, group_by_series, sort_spatially
from gateway.dicom.volumes.images import Image, image
from gateway.dicom.volumes.study import Series
from gateway.dicom.writing import segmentation_reader
from gateway.errors import AnswerInvalid, StudyRefused
from gateway.protocol.kinds import kind_of
from gateway.protocol.response import check
from gateway.protocol.serializer import InferenceSerializer

Words = dict[str, Any]


@dataclass(frozen=True)
class Unplaced:
    """A series of which nothing but its UID is known: its images are not at hand."""

    series_instance_uid: str


def findings(answer: Answer, source: Sequence[Instance]) -> list[Finding]:
    """What an answer says, in its order: parts, boxes, lengths, labels, conformance.

    ``of`` is the volume, image or series of ``source`` that a finding lies on, and None where no source is at hand.
    Segmentations are read as masks; of other DICOM parts, pictures and reports are findings. Raises AnswerInvalid for
    an answer that breaks protocol 1.0, or that says something of images that are not at hand.
    """
    require_sound(answer)
    shown = [one for one in source if one.frames]
    return [
        *_parts(answer, shown),
        *_boxes(answer.json, shown),
        *_lengths(answer.json, shown),
        *_labels(answer.json, source),
        *_conditions(answer),
    ]


def require_sound(answer: Answer) -> None:
    """Raise AnswerInvalid, with a pointer to the first fault, unless an answer keeps to protocol 1.0."""
    check(answer.json, list(answer.buffers), serializer=InferenceSerializer(), strict=True, warn=_ignore)


def objects(answer: Answer) -> list[Any]:
    """The DICOM parts of an answer as datasets. Raises StudyRefused."""
    parts = zip(answer.parts, answer.buffers, strict=True)
    return [segmentation_reader.read_object(buffer) for part, buffer in parts if kind_of(part).is_dicom]


def segments(answer: Answer, source: Sequence[Instance]) -> dict[int, list[segmentation_reader.Read]]:
    """The masks in segmentations that lie on images of ``source``, by their index in ``parts``; others are left out."""
    found: dict[int, list[segmentation_reader.Read]] = {}
    for index, (part, buffer) in enumerate(zip(answer.parts, answer.buffers, strict=True)):
        with suppress(StudyRefused):
            if kind_of(part).is_dicom and segmentation_reader.is_segmentation(read_header(BytesIO(buffer))):
                found[index] = [mask for mask in segmentation_reader.masks(buffer, source) if _covers(mask)]
    return {index: masks for index, masks in found.items() if masks}


def _covers(mask: segmentation_reader.Read) -> bool:
    """Whether the planes of a mask have the size of the images that they lie on."""
    return {(one.rows, one.columns) for one, _ in mask.of.frames} == {mask.array.shape[1:]}


def _ignore(line: str) -> None:
    """A strict check warns of nothing."""


def _parts(answer: Answer, source: Sequence[Instance]) -> Iterator[Finding]:
    """Masks and DICOM parts, in their order."""
    placed = iter(layers(source, answer.json, answer.buffers)) if source else None
    arrays = iter(answer.masks())
    for part, buffer in zip(answer.parts, answer.buffers, strict=True):
        if not kind_of(part).is_mask:
            yield from _dicom(part, buffer, source)
            continue
        array, of = next(arrays), None
        if placed is not None:
            array, of = _laid(next(placed), source)
        yield _mask(answer.json, part, array, of)


def _laid(layer: Layer, source: Sequence[Instance]) -> tuple[Array, Any]:
    """A mask in the order of the slices that it lies on, and these."""
    instances = {one.source: one for one in source}
    frames = [(instances[file], frame) for file, frame in sorted(layer.where, key=layer.where.__getitem__)]
    of = segmentation_reader.on_images(frames, single="depth" not in layer.part["binary_data_shape"])
    order = [layer.where[one.source, frame] for one, frame in of.frames]
    planes = layer.planes if order == list(range(len(layer.planes))) else layer.planes[order]
    return (planes[0] if isinstance(of, Image) else planes), of


def _mask(words: Words, part: Words, array: Array, of: Any) -> Finding:
    label = str(part.get("label", ""))
    match part["binary_type"]:
        case "boolean_mask":
            return Mask(array != 0, label, of)
        case "probability_mask":
            return ProbabilityMask(array, label, of, float(part.get("probability_threshold", 0.5)))
        case "numeric_label_mask":
            names = {int(key): str(name) for key, name in part["label_map"].items() if int(key)}
            return LabelMask(array, names, label, of)
        case _:
            return Heatmap(array, label, of, _palette(words.get("palettes", {}).get(part.get("palette"))))


def _palette(palette: Any) -> list[tuple[float, tuple[int, int, int, int]]] | None:
    """Anchor points; a table of 256 colours has one for each."""
    if palette is None:
        return None
    if palette["type"] == "lut":
        colours = np.reshape(palette["data"], (256, 4)).tolist()
        return [(index / 255, tuple(colour)) for index, colour in enumerate(colours)]
    return [(float(anchor["threshold"]), tuple(anchor["color"])) for anchor in palette["data"]]


def _dicom(part: Words, buffer: memoryview, source: Sequence[Instance]) -> Iterator[Finding]:
    dataset, label = segmentation_reader.read_object(buffer), str(part.get("label", ""))
    if source and segmentation_reader.is_segmentation(dataset):
        yield from segmentation_reader.masks(buffer, source)
    elif part["binary_type"] == "dicom_secondary_capture":
        yield SecondaryCapture(dataset, label)
    elif part["binary_type"] == "dicom_structured_report":
        yield StructuredReport(dataset, label)


def _boxes(words: Words, source: Sequence[Instance]) -> Iterator[Finding]:
    for index, box in enumerate(words.get("bounding_boxes_2d", [])):
        of, _ = _place("bounding_boxes_2d", index, box, source)
        yield BoundingBox(str(box["label"]), tuple(box["top_left"]), tuple(box["bottom_right"]), of=of)


def _lengths(words: Words, source: Sequence[Instance]) -> Iterator[Finding]:
    """Lengths in the patient stay so; those of x and y alone are told in the pixels that they fall on."""
    for index, line in enumerate(words.get("linear_measurements_2d", [])):
        start, end = tuple(line["start"]), tuple(line["end"])
        of, mark = _place("linear_measurements_2d", index, line, source)
        if mark is not None and line["coordinates_type"] == "world" and len(start) < 3:
            start, end = tuple(mark.start.tolist()), tuple(mark.end.tolist())
        yield LinearMeasurement(str(line.get("label", "")), start, end, of=of)


def _place(member: str, index: int, item: Words, source: Sequence[Instance]) -> tuple[Image | None, Mark | None]:
    """The image that a box or a length lies on, and where."""
    if not source:
        return None, None
    try:
        [((file, frame), (mark, *_)), *_] = marks(source, {member: [item]}).items()
    except AnswerInvalid as error:
        raise AnswerInvalid(error.pointer.replace("/0", f"/{index}", 1), error.detail) from error
    return image(next(one for one in source if one.source == file), frame), mark


def _labels(words: Words, source: Sequence[Instance]) -> Iterator[Finding]:
    if said := words.get("study_ml_json"):
        yield Classification(said)
    series = {uid: Series(tuple(sort_spatially(found))) for uid, found in group_by_series(source).items()}
    for uid, said in words.get("series_ml_json", {}).items():
        if source and uid not in series:
            raise AnswerInvalid(f"/series_ml_json/{uid}", "The study has no series of this UID.")
        yield Classification(said if isinstance(said, dict) else {"": said}, series.get(uid) or Unplaced(uid))


def _conditions(answer: Answer) -> Iterator[Finding]:
    """Each once, though every entry of ``parts`` repeats them."""
    told = [entry.get("dicomConformance", {}).get("recommended", []) for entry in (answer.json, *answer.parts)]
    unique = {(one["description"], one["compliant"]) for conditions in told for one in conditions}
    yield from (Conformance(description, bool(compliant)) for description, compliant in sorted(unique))
