"""An author's mistake has one error, in whichever form the answer leaves, and never that of a model that raised."""

from typing import Any

import numpy as np
import pytest

from gateway import (
    Classification,
    Finding,
    Heatmap,
    LabelMask,
    LinearMeasurement,
    ProbabilityMask,
    SecondaryCapture,
    StructuredReport,
    Volume,
)
from gateway.contract.findings import TOLERANCE
from tests.binding.asking import SHAPE, Answer, ask, series, serving

ONES = np.ones(SHAPE, np.uint8)
FLOATS = np.zeros(SHAPE, np.float32)
SINGLE = np.finfo(np.float32).eps


def answers(*findings: Any) -> list[Answer]:
    """The answer with ``findings`` as JSON and as DICOM."""

    def find(ct: Volume) -> list[Finding]:
        return list(findings)

    app = serving(find)
    return [ask(app, files=series(), output=output) for output in ("json", "dicom")]


MISTAKES: dict[str, tuple[Any, ...]] = {
    "keys of labels that are text": (LabelMask(ONES, {"1": "liver"}),),  # type: ignore[dict-item]
    "a key of labels that is a truth value": (LabelMask(ONES, {True: "liver"}),),
    "a name of two labels": (LabelMask(ONES, {1: "vessel", 2: "vessel"}),),
    "names that are numbers": (Classification({1: 0.5}),),  # type: ignore[dict-item]
    "a label without its value": (Classification("nodule"),),
    "a name in two classifications": (Classification({"a": 1}), Classification({"a": 2})),
    "infinity": (Classification({"a": float("inf")}),),
    "NaN of numpy": (Classification({"a": {"b": [np.float32("nan")]}}),),
    "half of a character": (Classification({"a": "\ud800"}),),
    "an array": (Classification({"a": np.ones(2)}),),
    "an object of Python": (Classification({"a": object()}),),
    "a label that is no text": (LinearMeasurement(5, (0, 0), (1, 1), slice=0),),
    "a threshold beyond 1": (ProbabilityMask(FLOATS, threshold=1.5),),
    "a palette of one colour": (Heatmap(FLOATS, palette=[(0.0, (0, 0, 0, 0))]),),
    "a probability beyond 1": (ProbabilityMask(FLOATS + np.float32(1 + 2 * TOLERANCE)),),
    "a probability that is NaN": (ProbabilityMask(FLOATS * np.float32("nan")),),
    "heat below 0": (Heatmap(FLOATS - np.float32(2 * TOLERANCE)),),
    "a picture of floats": (SecondaryCapture(FLOATS[0]),),
    "NaN in a report": (StructuredReport([("volume", np.float32("nan"), "ml")]),),
    "infinity in a report": (StructuredReport([("volume", float("-inf"), "ml")]),),
    "a text as a value in a report": (StructuredReport([("volume", "3", "ml")]),),
    "a truth value in a report": (StructuredReport([("volume", True, "ml")]),),
    "an array in a report": (StructuredReport([("volume", np.ones(1), "ml")]),),
    "a name that is a number in a report": (StructuredReport([(1, 2.0, "ml")]),),
    "a unit that is a number in a report": (StructuredReport([("volume", 2.0, 3)]),),
    "a pair in a report": (StructuredReport([("volume", 2.0)]),),
    "a text as a report": (StructuredReport("volume"),),
    "a number as a report": (StructuredReport(5),),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_one_error_in_both_forms(name: str) -> None:
    as_json, as_dicom = answers(*MISTAKES[name])
    assert as_json.status == as_dicom.status == 500
    assert as_json.json["type"] == as_dicom.json["type"] == "urn:gateway:problem:answer-invalid"
    assert as_json.json["detail"]


@pytest.mark.parametrize(
    "finding",
    [
        Classification({"a": np.float32(0.5), "b": np.int64(2), "c": np.bool_(True), "d": np.array(1.5), "e": None}),
        LabelMask(ONES, {np.uint8(1): "liver"}),  # type: ignore[dict-item]
        StructuredReport([("volume", np.float32(2), "ml"), ("count", np.int16(3), None), ("share", np.array(0.5), "")]),
    ],
)
def test_scalars_of_numpy_are_numbers_in_both_forms(finding: Any) -> None:
    assert [answer.status for answer in answers(finding)] == [200, 200]


@pytest.mark.parametrize(
    ("value", "sent"),
    [(np.float32(1) + SINGLE, 255), (np.float16(1.001), 255), (1 + TOLERANCE, 255), (-1e-9, 0), (-TOLERANCE, 0)],
)
@pytest.mark.parametrize("kind", [ProbabilityMask, Heatmap])
def test_a_fraction_a_rounding_beyond_its_range_is_clipped(kind: Any, value: Any, sent: int) -> None:
    as_json, as_dicom = answers(kind(np.full(SHAPE, value)))
    assert set(as_json.parts[0]) == {sent}
    assert as_dicom.status == 200
