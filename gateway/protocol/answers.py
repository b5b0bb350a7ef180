"""Findings -> an answer of protocol 1.0: its JSON, and one buffer for each entry of ``parts``.

What a finding lies on is known here by its names alone: ``frames`` (each slice's instance and frame) of a volume,
``instance`` and ``frame`` of an image, ``series_instance_uid`` of either or of a series. ``of`` is filled in where it
was implied, and pictures and reports are finished DICOM datasets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from gateway.contract.findings import (
    Array,
    BoundingBox,
    Classification,
    Conformance,
    Finding,
    Heatmap,
    Label,
    LabelMask,
    LinearMeasurement,
    Mask,
    ProbabilityMask,
    SecondaryCapture,
    StructuredReport,
    as_uint8,
)
from gateway.contract.requests import JSON, Buffer
from gateway.errors import AnswerInvalid
from gateway.protocol.faults import pointer

VERSION = "1.0"
SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.7": "dicom_secondary_capture",
    "1.2.840.10008.5.1.4.1.1.88": "dicom_structured_report",
    "1.2.840.10008.5.1.4.1.1.11": "dicom_gsps",
}
"""The beginnings of SOP Class UIDs (PS3.4 B.5) with a ``binary_type`` of their own; all others are ``dicom``."""

Answer = tuple[JSON, list[Buffer]]


@dataclass
class _Draft:
    """An answer as it grows."""

    parts: list[JSON] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    conditions: list[JSON] = field(default_factory=list)
    members: JSON = field(default_factory=dict)

    def add_part(self, finding: Any, binary_type: str, buffer: Buffer, **more: Any) -> None:
        label = {"label": finding.label} if finding.label else {}
        self.parts.append({**label, "binary_type": binary_type, **more})
        self.buffers.append(buffer)

    def add_mask(self, finding: Any, binary_type: str, buffer: Array, **more: Any) -> None:
        self.add_part(finding, binary_type, buffer, binary_data_shape=_shape(buffer), **_lies_on(finding.of), **more)

    def append(self, member: str, item: JSON) -> None:
        self.members.setdefault(member, []).append(item)

    def finished(self) -> Answer:
        """Put what the model recommends where protocol 1.0 has a place for it: in each entry of ``parts``."""
        conformance = {"dicomConformance": {"recommended": self.conditions}} if self.conditions else {}
        answer = {"protocol_version": VERSION, "parts": [entry | conformance for entry in self.parts], **self.members}
        return answer if self.parts else answer | conformance, self.buffers


def answer(findings: Sequence[Finding]) -> Answer:
    """The answer that says ``findings``, in their order. Raises AnswerInvalid for what protocol 1.0 cannot say.

    Masks are uint8 in the axes of what they lie on; probabilities and heat of 0 to 1 become 0 to 255.
    """
    draft = _Draft()
    for finding in findings:
        _WRITERS[type(finding)](draft, finding)
    return draft.finished()


def dicom_answer(datasets: Sequence[Any], findings: Sequence[Finding]) -> Answer:
    """The answer that carries finished DICOM ``datasets``; of ``findings`` only their conformance is said in JSON."""
    draft = _Draft()
    for dataset in datasets:
        title = str(dataset.get("SeriesDescription") or "")
        draft.parts.append({**({"label": title} if title else {}), "binary_type": _binary_type(dataset)})
        draft.buffers.append(dataset)
    for finding in findings:
        if isinstance(finding, Conformance):
            _conformance(draft, finding)
    return draft.finished()


def _binary_type(dataset: Any) -> str:
    uid = str(dataset.get("SOPClassUID") or "")
    return next((name for root, name in SOP_CLASSES.items() if uid == root or uid.startswith(root + ".")), "dicom")


def _mask(draft: _Draft, finding: Mask) -> None:
    draft.add_mask(finding, "boolean_mask", as_uint8(finding.array))


def _probability(draft: _Draft, finding: ProbabilityMask) -> None:
    draft.add_mask(finding, "probability_mask", _scaled(draft, finding.array), probability_threshold=finding.threshold)


def _label_mask(draft: _Draft, finding: LabelMask) -> None:
    names = {
        str(value): label.name if isinstance(label, Label) else str(label) for value, label in finding.labels.items()
    }
    array = finding.array.astype(np.uint8, copy=False)
    draft.add_mask(finding, "numeric_label_mask", array, label_map=names)


def _heatmap(draft: _Draft, finding: Heatmap) -> None:
    named = {} if finding.palette is None else {"palette": _palette(draft, finding.palette)}
    draft.add_mask(finding, "heatmap", _scaled(draft, finding.array), **named)


def _scaled(draft: _Draft, array: Array) -> Array:
    try:
        return as_uint8(array)
    except ValueError as error:
        raise AnswerInvalid(pointer(("parts", len(draft.parts))), f"For this kind of mask {error}.") from None


def _palette(draft: _Draft, anchors: Sequence[tuple[float, tuple[int, ...]]]) -> str:
    """The name under which ``palettes`` holds these anchor points; equal ones share it."""
    palettes = draft.members.setdefault("palettes", {})
    points = [{"threshold": float(place), "color": list(map(int, colour))} for place, colour in anchors]
    palette = {"type": "anchorpoints", "data": points}
    known = (name for name, other in palettes.items() if other == palette)
    name = next(known, f"palette_{len(palettes)}")
    palettes[name] = palette
    return cast(str, name)


def _box(draft: _Draft, finding: BoundingBox) -> None:
    corners = {"top_left": list(finding.top_left), "bottom_right": list(finding.bottom_right)}
    at = _at(draft, "bounding_boxes_2d")
    draft.append("bounding_boxes_2d", {"label": finding.label, **_image(finding, at), **corners})


def _measurement(draft: _Draft, finding: LinearMeasurement) -> None:
    world = len(finding.start) == 3
    at = _at(draft, "linear_measurements_2d")
    image = {} if world and finding.slice is None and not hasattr(finding.of, "instance") else _image(finding, at)
    ends = {"start": list(finding.start), "end": list(finding.end)}
    kind = {"coordinates_type": "world" if world else "pixel"}
    draft.append("linear_measurements_2d", {"label": finding.label, **image, **kind, **ends})


def _classification(draft: _Draft, finding: Classification) -> None:
    place = ("study_ml_json",) if finding.of is None else ("series_ml_json", finding.of.series_instance_uid)
    said = draft.members
    for member in place:
        said = said.setdefault(member, {})
    for name, value in finding.labels.items():
        if name in said:
            raise AnswerInvalid(pointer((*place, name)), "Two classifications of the same thing give one label twice.")
        said[name] = value


def _capture(draft: _Draft, finding: SecondaryCapture) -> None:
    draft.add_part(finding, "dicom_secondary_capture", finding.picture)


def _report(draft: _Draft, finding: StructuredReport) -> None:
    draft.add_part(finding, "dicom_structured_report", finding.content)


def _conformance(draft: _Draft, finding: Conformance) -> None:
    draft.conditions.append({"description": finding.description, "compliant": bool(finding.compliant)})


_WRITERS: Mapping[type, Callable[[_Draft, Any], None]] = {
    Mask: _mask,
    ProbabilityMask: _probability,
    LabelMask: _label_mask,
    Heatmap: _heatmap,
    BoundingBox: _box,
    LinearMeasurement: _measurement,
    Classification: _classification,
    SecondaryCapture: _capture,
    StructuredReport: _report,
    Conformance: _conformance,
}


def _shape(array: Array) -> JSON:
    """``binary_data_shape`` of (slice, row, column), or of (row, column)."""
    *depth, height, width = array.shape
    stack = {"timepoints": 1, "depth": depth[0]} if depth else {}
    return {**stack, "height": height, "width": width}


def _lies_on(of: Any) -> JSON:
    if hasattr(of, "instance"):
        return {"dicom_image": _frame(of.instance, of.frame)}
    return {} if of is None else {"SeriesInstanceUID": of.series_instance_uid}


def _image(finding: BoundingBox | LinearMeasurement, at: str) -> JSON:
    """The image that a box or a line is drawn on."""
    if hasattr(finding.of, "instance"):
        return _frame(finding.of.instance, finding.of.frame)
    frames = getattr(finding.of, "frames", ())
    if finding.slice is None or not 0 <= finding.slice < len(frames):
        raise AnswerInvalid(at, f"It needs the slice it lies on: slice=0 to {len(frames) - 1}, or of=an image.")
    return _frame(*frames[finding.slice])


def _frame(instance: Any, frame: int) -> JSON:
    """An image by its SOP Instance UID; a frame of several by its number too, which DICOM counts from 1."""
    number = {"frame_number": frame + 1} if instance.frames > 1 else {}
    return {"SOPInstanceUID": instance.sop_instance_uid, **number}


def _at(draft: _Draft, member: str) -> str:
    return pointer((member, len(draft.members.get(member, ()))))
