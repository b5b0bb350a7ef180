"""Findings <-> an answer of protocol 1.0: its JSON, and one buffer for each entry of ``parts``.

``FORMS`` has a row for each class of finding: how it is written, and how it is read. Masks share one form, of which
``kinds`` has the rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gateway.contract.findings import (
    MASKS,
    Array,
    BoundingBox,
    Classification,
    Conformance,
    Finding,
    LinearMeasurement,
    SecondaryCapture,
    StructuredReport,
    mask_bytes,
)
from gateway.contract.requests import JSON, Buffer
from gateway.contract.sop_classes import object_kind
from gateway.errors import AnswerInvalid
from gateway.protocol.buffers import shape_of
from gateway.protocol.drafts import Draft, image_place, mask_place, shape_members
from gateway.protocol.faults import pointer
from gateway.protocol.kinds import KINDS, kind_of

Answer = tuple[JSON, list[Buffer]]


class Location(NamedTuple):
    """The place of a finding in the JSON: a series, an image and a frame, each None where it is not stated.

    ``pointer`` leads to the object that says so. ``has_slices`` is True for a mask with an axis of slices, ``world``
    for points in the patient, LPS mm.
    """

    pointer: str
    series: str | None = None
    image: str | None = None
    frame_number: int | None = None
    has_slices: bool = True
    world: bool = False


Statement = tuple[Any, Location]
"""A finding whose ``of`` is None, and where it lies."""


class Form(NamedTuple):
    """A class of finding in JSON: its writer, and its reader, None where the finding is a DICOM part."""

    write: Callable[[Draft, Any], None]
    read: Callable[[JSON], Iterator[Statement]] | None


def answer(findings: Sequence[Finding]) -> Answer:
    """Return the answer with ``findings``, in their order. Raises AnswerInvalid for what protocol 1.0 cannot say.

    ``of`` is filled in where it was implied, and pictures and reports are finished DICOM datasets. Masks are uint8 in
    the axes of what they lie on; probabilities and heat of 0 to 1 become 0 to 255.
    """
    draft = Draft()
    for finding in findings:
        FORMS[type(finding)].write(draft, finding)
    return draft.finished()


def dicom_answer(datasets: Sequence[Any], findings: Sequence[Finding]) -> Answer:
    """Return the answer with finished DICOM ``datasets``; of ``findings`` its JSON has their conformance alone."""
    draft = Draft()
    for dataset in datasets:
        kind = object_kind(str(dataset.get("SOPClassUID") or ""))
        draft.add_part(str(dataset.get("SeriesDescription") or ""), kind.binary_type, dataset)
    for finding in findings:
        if isinstance(finding, Conformance):
            _write_conformance(draft, finding)
    return draft.finished()


def read_masks(document: JSON, buffers: Sequence[Any]) -> Iterator[Statement]:
    """Read the masks of an answer that passed the checks of ``response.check``, in the order of ``parts``.

    Arrays have the axes that ``binary_data_shape`` names: (time point, slice, row, column) or fewer; bool for a
    boolean mask, else uint8.
    """
    for index, (entry, buffer) in enumerate(zip(document.get("parts", []), buffers, strict=True)):
        form = kind_of(entry).form
        if form is None:
            continue
        shape, image = entry["binary_data_shape"], entry.get("dicom_image", {})
        array = _array(shape, buffer)
        if MASKS[form.finding].dtypes == "b":
            array = array != 0
        finding = form.finding(array, label=str(entry.get("label", "")), **form.read(entry, document))
        at = pointer(("parts", index))
        series, name, number = entry.get("SeriesInstanceUID"), image.get("SOPInstanceUID"), image.get("frame_number")
        yield finding, Location(at, series, name, number, "depth" in shape)


def read_members(document: JSON) -> Iterator[Statement]:
    """Read the findings beside ``parts``: boxes, lengths, labels, conformance."""
    for form in FORMS.values():
        if form.read is not None:
            yield from form.read(document)


def _array(shape: Mapping[str, int], buffer: Any) -> Array:
    array = np.ascontiguousarray(buffer) if isinstance(buffer, np.ndarray) else np.frombuffer(buffer, np.uint8)
    return array.view(np.uint8).reshape(shape_of(shape))


_MASK_TYPES = {kind.form.finding: (name, kind.form) for name, kind in KINDS.items() if kind.form is not None}


def _write_mask(draft: Draft, finding: Any) -> None:
    binary_type, form = _MASK_TYPES[type(finding)]
    members = form.write(finding, draft.members)
    try:
        array = mask_bytes(finding)
    except ValueError as error:
        part = len(draft.parts)
        it = f"Part {part + 1}, a {type(finding).__name__},"
        raise AnswerInvalid(pointer(("parts", part)), f"{it} {error}.") from None
    place = {"binary_data_shape": shape_members(array), **mask_place(finding.of)}
    draft.add_part(finding.label, binary_type, array, **place, **members)


def _write_box(draft: Draft, finding: BoundingBox) -> None:
    corners = {"top_left": list(finding.top_left), "bottom_right": list(finding.bottom_right)}
    image = image_place(finding, draft.pointer("bounding_boxes_2d"))
    draft.append("bounding_boxes_2d", {"label": finding.label, **image, **corners})


def _read_boxes(document: JSON) -> Iterator[Statement]:
    """A box names its frame only where the gateway wrote it: protocol 1.0 has no such member."""
    for index, box in enumerate(document.get("bounding_boxes_2d", [])):
        number = box.get("frame_number")
        frame = number if type(number) is int and number >= 0 else None
        finding = BoundingBox(str(box["label"]), tuple(box["top_left"]), tuple(box["bottom_right"]))
        yield finding, Location(pointer(("bounding_boxes_2d", index)), None, box["SOPInstanceUID"], frame)


def _write_length(draft: Draft, finding: LinearMeasurement) -> None:
    world = len(finding.start) == 3
    at = draft.pointer("linear_measurements_2d")
    free = world and finding.slice is None and not hasattr(finding.of, "instance")
    image = {} if free else image_place(finding, at)
    ends = {"start": list(finding.start), "end": list(finding.end)}
    kind = {"coordinates_type": "world" if world else "pixel"}
    draft.append("linear_measurements_2d", {"label": finding.label, **image, **kind, **ends})


def _read_lengths(document: JSON) -> Iterator[Statement]:
    for index, line in enumerate(document.get("linear_measurements_2d", [])):
        at, world = pointer(("linear_measurements_2d", index)), line["coordinates_type"] == "world"
        finding = LinearMeasurement(str(line.get("label", "")), tuple(line["start"]), tuple(line["end"]))
        yield finding, Location(at, None, line.get("SOPInstanceUID"), line.get("frame_number"), world=world)


def _write_classification(draft: Draft, finding: Classification) -> None:
    place = ("study_ml_json",) if finding.of is None else ("series_ml_json", finding.of.series_instance_uid)
    if not place[-1]:
        raise AnswerInvalid("/series_ml_json", "The series has no SeriesInstanceUID that its labels could name.")
    if not isinstance(finding.labels, Mapping):
        raise AnswerInvalid(pointer(place), "A Classification takes its labels as a dict, such as {'nodule': 0.8}.")
    labels = draft.members
    for member in place:
        labels = labels.setdefault(member, {})
    for name, value in finding.labels.items():
        if name in labels:
            raise AnswerInvalid(pointer((*place, name)), "Two classifications of the same thing give one label twice.")
        labels[name] = value


def _read_classifications(document: JSON) -> Iterator[Statement]:
    """Labels that are not an object have one label without a name."""
    if labels := document.get("study_ml_json"):
        yield Classification(labels), Location("/study_ml_json")
    for uid, labels in document.get("series_ml_json", {}).items():
        named = labels if isinstance(labels, dict) else {"": labels}
        yield Classification(named), Location(pointer(("series_ml_json", uid)), uid)


def _write_capture(draft: Draft, finding: SecondaryCapture) -> None:
    draft.add_part(finding.label, "dicom_secondary_capture", finding.picture)


def _write_report(draft: Draft, finding: StructuredReport) -> None:
    draft.add_part(finding.label, "dicom_structured_report", finding.content)


def _write_conformance(draft: Draft, finding: Conformance) -> None:
    draft.conditions.append({"description": finding.description, "compliant": bool(finding.compliant)})


def _read_conformance(document: JSON) -> Iterator[Statement]:
    """Each condition once, though every entry of ``parts`` repeats them."""
    entries = (document, *document.get("parts", []))
    conditions = (one for entry in entries for one in entry.get("dicomConformance", {}).get("recommended", []))
    unique = {(one["description"], one["compliant"]) for one in conditions}
    for description, compliant in sorted(unique):
        yield Conformance(description, bool(compliant)), Location("/dicomConformance")


FORMS: Mapping[type, Form] = {
    **dict.fromkeys(MASKS, Form(_write_mask, None)),
    BoundingBox: Form(_write_box, _read_boxes),
    LinearMeasurement: Form(_write_length, _read_lengths),
    Classification: Form(_write_classification, _read_classifications),
    SecondaryCapture: Form(_write_capture, None),
    StructuredReport: Form(_write_report, None),
    Conformance: Form(_write_conformance, _read_conformance),
}
"""The classes of findings; those of parts are read with their buffers, by ``read_masks`` and as DICOM."""
