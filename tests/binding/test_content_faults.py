"""A typed answer is valid by construction: one without a fault here passes the checks of a handler's answer."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.binding.content_faults import content_faults, text_faults
from gateway.contract.findings import (
    BoundingBox,
    Classification,
    Conformance,
    Heatmap,
    Label,
    LabelMask,
    LinearMeasurement,
    Mask,
    ProbabilityMask,
)
from gateway.contract.requests import ModelAnswer
from gateway.errors import AnswerInvalid
from gateway.protocol.answers import answer
from gateway.protocol.response import check, encoded
from gateway.protocol.serializer import InferenceSerializer


@dataclass(frozen=True)
class Instance:
    sop_instance_uid: str
    frames: int = 1


@dataclass(frozen=True)
class Volume:
    frames: tuple[tuple[Instance, int], ...]
    series_instance_uid: str = "1.2.3"


def built(kind: type[Any], *members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(*members).map(lambda values: kind(*values))


VOLUME = Volume(tuple((Instance(f"1.2.3.{index}"), 0) for index in range(2)))
ARRAY = np.zeros((2, 3, 4), np.uint8)
MAYBE_FRACTION = st.one_of(st.floats(0, 1), st.floats(), st.sampled_from([0, 1, True, "0.5", None]))
TEXT = st.text(max_size=8)
NAMES = st.one_of(TEXT, st.sampled_from(["liver", "spleen"]), built(Label, TEXT), built(Label, st.integers()))
LABELS = st.dictionaries(st.integers(1, 255), NAMES, max_size=3)
COLOUR = st.lists(st.integers(-1, 256), min_size=3, max_size=5).map(tuple) | st.just((0, 0, 0, 255))
ANCHORS = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, math.nan]), COLOUR), max_size=4)
PALETTES = st.none() | ANCHORS | st.just([(0.0, (0, 0, 0, 0)), (1.0, (255, 0, 0, 255))])
POINTS = st.tuples(st.floats(0, 3), st.floats(0, 2))
SCALARS = st.one_of(
    TEXT, st.floats(), st.integers(), st.booleans(), st.floats(width=32).map(np.float32), st.just(ARRAY)
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2))
FINDING = st.one_of(
    built(Mask, st.just(ARRAY), TEXT, st.just(VOLUME)),
    built(ProbabilityMask, st.just(ARRAY), TEXT, st.just(VOLUME), MAYBE_FRACTION),
    built(LabelMask, st.just(ARRAY), LABELS, TEXT, st.just(VOLUME)),
    built(Heatmap, st.just(ARRAY), TEXT, st.just(VOLUME), PALETTES),
    built(BoundingBox, TEXT | st.integers(), POINTS, POINTS, st.just(1), st.just(VOLUME)),
    built(LinearMeasurement, TEXT | st.none(), POINTS, POINTS, st.just(0), st.just(VOLUME)),
    built(Conformance, TEXT, st.booleans()),
    built(Classification, st.dictionaries(TEXT | st.integers(), VALUES, max_size=3), st.none() | st.just(VOLUME)),
)


def passes_the_check(findings: list[Any]) -> bool:
    said, buffers = answer(findings)
    try:
        check(said, buffers, serializer=InferenceSerializer(), strict=True, warn=pytest.fail)
    except AnswerInvalid:
        return False
    return True


@given(st.lists(FINDING, max_size=3))
def test_an_answer_without_a_content_fault_passes_the_check_of_a_handlers_answer(findings: list[Any]) -> None:
    try:
        faults = [*content_faults(findings), *text_faults(findings)]
    except AnswerInvalid:
        return
    if not faults:
        assert passes_the_check(findings)


def test_an_answer_names_no_series_without_a_uid() -> None:
    with pytest.raises(AnswerInvalid):
        answer([Classification({"a": 1}, of=Volume(VOLUME.frames, ""))])


@pytest.mark.parametrize(
    ("finding", "pointer"),
    [
        (ProbabilityMask(ARRAY, of=VOLUME, threshold=1.5), "/parts/1/probability_threshold"),
        (ProbabilityMask(ARRAY, of=VOLUME, threshold=math.nan), "/parts/1/probability_threshold"),
        (ProbabilityMask(ARRAY, of=VOLUME, threshold=True), "/parts/1/probability_threshold"),
        (LabelMask(ARRAY, {1: "liver", 2: "liver"}, of=VOLUME), "/parts/1/label_map"),
        (Heatmap(ARRAY, of=VOLUME, palette=[(0.0, (0, 0, 0, 0))]), "/parts/1/palette"),
        (Heatmap(ARRAY, of=VOLUME, palette=[(0.0, (0, 0, 0, 0)), (1.0, (256, 0, 0, 0))]), "/parts/1/palette"),
    ],
)
def test_a_content_fault_points_to_its_entry_and_would_not_pass_the_check(finding: Any, pointer: str) -> None:
    findings = [Mask(ARRAY, of=VOLUME), Classification({"a": 1}), finding]
    assert [fault.pointer for fault in content_faults(findings)] == [pointer]
    assert not passes_the_check(findings)


def test_a_content_fault_is_refused_where_strict_and_logged_else() -> None:
    findings = [ProbabilityMask(ARRAY, of=VOLUME, threshold=1.5)]
    typed = ModelAnswer(*answer(findings), faults=list(content_faults(findings)))
    with pytest.raises(AnswerInvalid):
        encoded(typed, serializer=InferenceSerializer(), strict=True, warn=pytest.fail)
    warnings: list[str] = []
    assert encoded(typed, serializer=InferenceSerializer(), strict=False, warn=warnings.append).parts
    assert len(warnings) == 1
