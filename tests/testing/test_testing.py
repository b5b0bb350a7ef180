"""The client for authors' tests goes through the application like a request over HTTP."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gateway.client import Refused
from gateway.testing import assert_overlap, assert_same_geometry, client, dice, phantom_study
from tests.apps.faults import app


def test_a_study_goes_through_the_application_and_its_answer_is_checked(tmp_path: Path) -> None:
    study = phantom_study(tmp_path, slices=4, size=32)
    answer = client(app).ask({"a": 1}, study, "/echo")
    assert answer.json["study_ml_json"]["sizes"] == [file.stat().st_size for file in study]
    assert answer.input_digest == answer.json["study_ml_json"]["digest"]
    assert client(app).ask({"shape": [3, 4, 5]}, study, "/mask").masks()[0].shape == (3, 4, 5)


def test_a_refusal_is_the_same_as_over_http(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="at least 20 are needed") as refusal:
        client(app).ask({}, [], "/refuses")
    assert refusal.value.status == 422


def test_probes_answer() -> None:
    assert client(app).health() == "READY"


def test_overlap_is_measured_in_dice() -> None:
    one, other = np.zeros((4, 4)), np.zeros((4, 4))
    assert dice(one, other) == 1
    one[:2], other[1:3] = 1, 1
    assert dice(one, other) == pytest.approx(0.5)
    with pytest.raises(AssertionError, match=r"0\.500"):
        assert_overlap(one, other)
    with pytest.raises(AssertionError, match="shapes"):
        dice(one, other[:2])


@dataclass
class Stack:
    shape: tuple[int, int, int]
    affine: np.ndarray


def test_geometry_is_compared_in_millimetres_at_the_far_corner() -> None:
    one, turned = Stack((10, 20, 30), np.eye(4)), Stack((10, 20, 30), np.diag([1, 1, 1.01, 1]))
    assert_same_geometry(one, Stack((10, 20, 30), np.eye(4)))
    with pytest.raises(AssertionError, match=r"0\.29"):
        assert_same_geometry(one, turned)
    with pytest.raises(AssertionError, match="shapes"):
        assert_same_geometry(one, Stack((9, 20, 30), np.eye(4)))
