"""A file without a UID that the answer has to name is the sender's fault, found before the model runs."""

from typing import Any

import pytest

from gateway import BoundingBox, Classification, Image, Mask, StudyRefused, Volume
from gateway.binding.typed_model import TypedModel
from gateway.contract.requests import Request
from tests.dicom.studies import image
from tests.dicom.volumes.volume_series import parts

RUNS: list[str] = []


def on_volume(volume: Volume) -> Mask:
    RUNS.append("volume")
    return Mask(volume.array > 0)


def on_images(images: list[Image]) -> list[Mask]:
    RUNS.append("images")
    return [Mask(one.array > 0, of=one) for one in images]


def boxes(images: list[Image]) -> list[BoundingBox]:
    RUNS.append("boxes")
    return [BoundingBox("box", (1, 1), (3, 3), of=one) for one in images]


def labels(volume: Volume) -> Classification:
    RUNS.append("labels")
    return Classification({"size": volume.array.size})


def predict(target: Any, output: str, **values: str) -> Any:
    dataset = image()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    RUNS.clear()
    return TypedModel(target.__name__, target).predict(Request({"output": output}, parts([dataset]), "a" * 64))


REFUSED = [
    (on_volume, "json", "SeriesInstanceUID"),
    (on_images, "json", "SOPInstanceUID"),
    (boxes, "json", "SOPInstanceUID"),
    *((target, "dicom", uid) for target in (on_volume, on_images, boxes, labels)
      for uid in ("SOPInstanceUID", "SeriesInstanceUID", "SOPClassUID")),
]  # fmt: skip


@pytest.mark.parametrize(("target", "output", "keyword"), REFUSED)
def test_a_uid_that_the_answer_names_is_needed_before_the_model_runs(target: Any, output: str, keyword: str) -> None:
    with pytest.raises(StudyRefused) as refusal:
        predict(target, output, **{keyword: ""})
    assert keyword in refusal.value.detail
    assert RUNS == []


@pytest.mark.parametrize(
    ("target", "keyword"), [(on_volume, "SOPInstanceUID"), (on_images, "SeriesInstanceUID"), (labels, "SOPClassUID")]
)
def test_a_uid_that_the_answer_does_not_name_may_be_absent(target: Any, keyword: str) -> None:
    assert predict(target, "json", **{keyword: ""}).json["protocol_version"] == "1.0"
