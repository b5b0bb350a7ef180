"""The model that asks for a lesion: the same function driven by hand, by the client for tests, and in a process."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway import Gateway, Interactive, Point
from gateway.client import Refused
from gateway.dicom.samples.phantom import HEIGHT_MM, SPHERES, WIDTH_MM
from gateway.testing import assert_overlap, client, phantom_study
from models import lesion

SLICES, SIZE = 32, 128
SPACING = np.array([HEIGHT_MM / SLICES, WIDTH_MM / SIZE, WIDTH_MM / SIZE])
CENTRE = np.array(SPHERES[0].centre[::-1]) + np.array([HEIGHT_MM, WIDTH_MM, WIDTH_MM]) / 2
POINT = Point(*(CENTRE / SPACING - 0.5).round().tolist())
"""The middle of a sphere of the phantom."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return phantom_study(tmp_path_factory.mktemp("phantom"), slices=SLICES, size=SIZE)


@pytest.fixture
def app() -> Gateway:
    made = Gateway(__name__)
    made.model("/lesion", version="1.0.0")(lesion.measure)
    return made


def sphere() -> "np.ndarray[Any, np.dtype[np.bool_]]":
    axes = [(np.arange(size) + 0.5) * step for size, step in zip((SLICES, SIZE, SIZE), SPACING, strict=True)]
    apart = sum((axis - at) ** 2 for axis, at in zip(np.meshgrid(*axes, indexing="ij"), CENTRE, strict=True))
    return np.asarray(apart <= SPHERES[0].radius ** 2)


def test_the_answers_of_a_test_lead_to_the_lesion(app: Gateway, study: list[Path]) -> None:
    result = client(app, answers=[POINT, "lung"]).infer(study, "/lesion", {"tolerance": 150})
    (mask,) = result.masks
    assert_overlap(mask, sphere(), at_least=0.75)
    labels = result.answer.json["study_ml_json"]
    assert labels["organ"] == "lung"
    assert labels["volume_ml"] == pytest.approx(mask.sum() * SPACING.prod() / 1000, abs=0.1)


@pytest.mark.parametrize("answers", [[], [POINT], [Point(0, 0, SIZE), "lung"], [POINT, "heart"], ["lung", POINT]])
def test_an_answer_that_is_missing_or_does_not_fit_refuses(app: Gateway, study: list[Path], answers: list[Any]) -> None:
    with pytest.raises(Refused) as refusal:
        client(app, answers=answers).infer(study, "/lesion")
    assert refusal.value.status == 422


def test_a_generator_is_driven_by_hand_too(study: list[Path]) -> None:
    from gateway.dicom.reading.instances import read_instance
    from gateway.dicom.volumes.study import volume

    steps: Interactive[Any] = lesion.measure(volume([read_instance(path) for path in study]), 150)
    shown = [next(steps), next(steps), next(steps), steps.send(POINT), next(steps)]
    assert [type(step).__name__ for step in shown] == ["Progress", "Preview", "Ask", "Progress", "Ask"]
    with pytest.raises(StopIteration) as end:
        steps.send("lung")
    assert_overlap(end.value.value[0].array, sphere(), at_least=0.75)
