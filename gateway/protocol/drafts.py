"""An answer of protocol 1.0 while it is written, and where its JSON says that a finding lies.

A finding's ``of`` is known here by its names alone: ``frames`` (each slice's instance and frame) of a volume,
``instance`` and ``frame`` of an image, ``series_instance_uid`` of either or of a series.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.contract.findings import Array, BoundingBox, LinearMeasurement
from gateway.contract.requests import JSON, Buffer
from gateway.errors import AnswerInvalid
from gateway.protocol.faults import pointer

VERSION = "1.0"


@dataclass
class Draft:
    """An answer as it grows: entries of ``parts``, their buffers, conditions of the input, and all other members."""

    parts: list[JSON] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    conditions: list[JSON] = field(default_factory=list)
    members: JSON = field(default_factory=dict)

    def add_part(self, label: str, binary_type: str, buffer: Buffer, **more: Any) -> None:
        """Add one part; an empty label is left out."""
        self.parts.append({**({"label": label} if label else {}), "binary_type": binary_type, **more})
        self.buffers.append(buffer)

    def append(self, member: str, item: JSON) -> None:
        """Add one item to a list of the answer."""
        self.members.setdefault(member, []).append(item)

    def pointer(self, member: str) -> str:
        """The JSON pointer to the next item of a list of the answer."""
        return pointer((member, len(self.members.get(member, ()))))

    def finished(self) -> tuple[JSON, list[Buffer]]:
        """Return JSON and buffers. Conditions go where protocol 1.0 has a place for them: into each entry of parts."""
        conformance = {"dicomConformance": {"recommended": self.conditions}} if self.conditions else {}
        answer = {"protocol_version": VERSION, "parts": [entry | conformance for entry in self.parts], **self.members}
        return answer if self.parts else answer | conformance, self.buffers


def shape_members(array: Array) -> JSON:
    """``binary_data_shape`` of (slice, row, column), or of (row, column)."""
    *depth, height, width = array.shape
    stack = {"timepoints": 1, "depth": depth[0]} if depth else {}
    return {**stack, "height": height, "width": width}


def mask_place(of: Any) -> JSON:
    """The image or the series that a mask lies on."""
    if hasattr(of, "instance"):
        return {"dicom_image": _frame(of.instance, of.frame)}
    return {} if of is None else {"SeriesInstanceUID": of.series_instance_uid}


def image_place(finding: BoundingBox | LinearMeasurement, at: str) -> JSON:
    """The image that a box or a length is drawn on. Raises AnswerInvalid at the pointer ``at`` without a slice."""
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
