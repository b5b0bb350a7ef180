"""The findings of one answer as rows of a table: one for each mask and label, box, length, value and object."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gateway.client.answer import Answer
from gateway.client.reading import findings
from gateway.contract.findings import (
    MASKS,
    BoundingBox,
    Classification,
    Conformance,
    Heatmap,
    Label,
    LabelMask,
    LinearMeasurement,
    ProbabilityMask,
    SecondaryCapture,
    StructuredReport,
)
from gateway.dicom.reading.instances import Instance

CUBIC_MM = 1000.0
"""Cubic millimetres of a millilitre."""


class FindingLine(NamedTuple):
    """A finding: its kind, its label, and its value in ``unit``: mL of a mask on a volume, mm of a length, and px."""

    kind: str
    label: str = ""
    value: str = ""
    unit: str = ""


def lines_of(answer: Answer, source: Sequence[Instance]) -> list[FindingLine]:
    """Return the findings of an answer on its study. Raises AnswerInvalid as ``client.reading.findings``."""
    return [line for finding in findings(answer, source) for line in _lines(finding)]


def _lines(finding: Any) -> Iterator[FindingLine]:
    if type(finding) in MASKS:
        yield from _of_mask(finding)
        return
    match finding:
        case BoundingBox():
            corners = " ".join(f"{value:g}" for value in (*finding.top_left, *finding.bottom_right))
            yield FindingLine("bounding box", finding.label, corners, "px")
        case LinearMeasurement():
            yield FindingLine("length", finding.label, *_length(finding))
        case Classification():
            for name, value in finding.labels.items():
                yield FindingLine("label", name, str(value))
        case Conformance():
            yield FindingLine("conformance", finding.description, str(finding.compliant).lower())
        case SecondaryCapture():
            yield FindingLine("capture", finding.label)
        case StructuredReport():
            yield FindingLine("report", finding.label)


def _of_mask(finding: Any) -> Iterator[FindingLine]:
    kind = MASKS[type(finding)].name
    match finding:
        case LabelMask():
            # plane by plane: bincount makes integers of 64 bits of what it counts, and those of one stay in the cache
            planes = (np.bincount(np.ravel(plane), minlength=256) for plane in finding.array)
            counts = sum(planes, np.zeros(256, np.intp))
            for value, label in sorted(finding.labels.items()):
                name = label.name if isinstance(label, Label) else str(label)
                yield FindingLine(kind, name, *_extent(int(counts[value]), finding.of))
        case ProbabilityMask():
            least = math.ceil(finding.threshold * 255) if finding.array.dtype == np.uint8 else finding.threshold
            yield FindingLine(kind, finding.label, *_extent(int(np.count_nonzero(finding.array >= least)), finding.of))
        case Heatmap():
            yield FindingLine(kind, finding.label)
        case _:
            yield FindingLine(kind, finding.label, *_extent(int(np.count_nonzero(finding.array)), finding.of))


def _extent(voxels: int, of: Any) -> tuple[str, str]:
    """Return a mask's volume in mL, or its pixels where it does not lie on a volume."""
    affine = getattr(of, "affine", None)
    if affine is None:
        return str(voxels), "px"
    return f"{voxels * abs(float(np.linalg.det(affine[:3, :3]))) / CUBIC_MM:.3f}", "mL"


def _length(finding: LinearMeasurement) -> tuple[str, str]:
    """Return a length in mm: ends in the patient are, ends on an image are where it states its spacing."""
    offset = np.subtract(finding.end, finding.start)
    if len(offset) == 3:
        return f"{np.linalg.norm(offset):.2f}", "mm"
    spacing = getattr(finding.of, "spacing", None)
    if spacing is None:
        return f"{np.linalg.norm(offset):.2f}", "px"
    return f"{np.linalg.norm(offset * np.asarray(spacing)[-1:-3:-1]):.2f}", "mm"
