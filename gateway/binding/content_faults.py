"""Rules of protocol 1.0 on the content of checked findings, beyond the shape that their classes ensure.

With these and the checks of ``outputs`` a typed answer is valid by construction; tests hold it against
``protocol.response.check``. The settings decide whether a fault refuses the answer or is logged.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np

from gateway.contract.findings import (
    BoundingBox,
    Classification,
    Finding,
    Heatmap,
    Label,
    LabelMask,
    LinearMeasurement,
    Mask,
    ProbabilityMask,
    SecondaryCapture,
    StructuredReport,
)
from gateway.errors import AnswerInvalid
from gateway.protocol.answers import answer
from gateway.protocol.faults import pointer
from gateway.protocol.jsontext import encode

_MEMBERS: dict[type, str] = {
    **dict.fromkeys((Mask, ProbabilityMask, LabelMask, Heatmap, SecondaryCapture, StructuredReport), "parts"),
    BoundingBox: "bounding_boxes_2d",
    LinearMeasurement: "linear_measurements_2d",
}
"""The list of the answer's JSON that a finding goes into."""
_JSON_ONLY = (BoundingBox, LinearMeasurement, Classification)
"""Findings that are no part of their own in protocol 1.0."""


def content_faults(findings: Sequence[Finding]) -> Iterator[AnswerInvalid]:
    """Yield the first fault of each finding, with the pointer to its place in the answer's JSON."""
    numbers: Counter[str] = Counter()
    for finding in findings:
        if isinstance(finding, Classification) and not all(map(_is_text, finding.labels)):
            place = ("study_ml_json",) if finding.of is None else ("series_ml_json", finding.of.series_instance_uid)
            yield AnswerInvalid(pointer(place), "The names of labels should be text.")
        member = _MEMBERS.get(type(finding))
        if member is None:
            continue
        index = numbers[member]
        numbers[member] += 1
        fault = next(_faults(finding), None)
        if fault is not None:
            at, sentence = fault
            yield AnswerInvalid(pointer((member, index, at)), sentence)


def text_faults(findings: Sequence[Finding]) -> list[AnswerInvalid]:
    """Return the faults that findings would have as JSON, where they leave as DICOM: NaN, infinity, half a character.

    Raises AnswerInvalid for what JSON cannot say at all, such as an array in a classification.
    """
    faults: list[AnswerInvalid] = []
    document, _ = answer([finding for finding in findings if isinstance(finding, _JSON_ONLY)])
    encode(document, faults.append)
    return faults


def _faults(finding: Finding) -> Iterator[tuple[str, str]]:
    """Yield the member of the entry and a sentence for each fault of one finding."""
    if isinstance(finding, (BoundingBox, LinearMeasurement)) and not _is_text(finding.label):
        yield "label", "The label should be text."
    elif isinstance(finding, ProbabilityMask) and not _is_fraction(finding.threshold):
        yield "probability_threshold", "The threshold should be a number of 0 to 1."
    elif isinstance(finding, LabelMask):
        yield from _of_labels(finding)
    elif isinstance(finding, Heatmap) and finding.palette is not None:
        yield from _of_palette(finding.palette)


def _of_labels(mask: LabelMask) -> Iterator[tuple[str, str]]:
    names = [label.name if isinstance(label, Label) else str(label) for label in mask.labels.values()]
    if not all(map(_is_text, names)):
        yield "label_map", "The names of labels should be text."
    elif len(set(names)) < len(names):
        yield "label_map", "The values of label_map should be unique."
    elif not all(type(value) is int or str(value).isdigit() for value in mask.labels):
        yield "label_map", "The keys of label_map should be whole numbers."


def _of_palette(palette: Sequence[Any]) -> Iterator[tuple[str, str]]:
    places = [place for place, _ in palette]
    if len(places) < 2 or not all(map(_is_fraction, places)) or (places[0], places[-1]) != (0, 1):
        yield "palette", "A palette should have at least two places, from 0.0 to 1.0."
    elif any(after < before for before, after in pairwise(places)):
        yield "palette", "The places of a palette should increase from 0.0 to 1.0."
    elif not all(len(colour) == 4 and all(0 <= int(value) <= 255 for value in colour) for _, colour in palette):
        yield "palette", "A colour of a palette should be four whole numbers of 0 to 255."


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_fraction(value: object) -> bool:
    """Return True for a number of 0 to 1; a truth value is no number in JSON."""
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return is_number and 0 <= float(cast(float, value)) <= 1
