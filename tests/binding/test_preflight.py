"""The verdict of a preflight on headers is that of the inference on the whole files, with the same reasons."""

import io
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import pytest
from pydicom import Dataset

from gateway import BoundingBox, Classification, Image, Mask, Requires, Series, Study, StudyRefused, Volume
from gateway.binding.preflight import preflight
from gateway.binding.typed_model import TypedModel
from gateway.contract.requests import Request
from gateway.dicom.reading.files import convert_dataset_to_bytes
from tests.binding.asking import series


def on_volume(volume: Volume) -> Mask:
    return Mask(volume.array > 0)


def on_mr(volume: Annotated[Volume, Requires(modality="MR")]) -> Mask:
    return Mask(volume.array > 0)


def on_many(volume: Annotated[Volume, Requires(min_slices=40)]) -> Mask:
    return Mask(volume.array > 0)


def on_image(image: Image) -> Mask:
    return Mask(image.array > 0)


def on_images(images: list[Image]) -> list[Mask]:
    return [Mask(image.array > 0, of=image) for image in images]


def boxes(images: list[Image]) -> list[BoundingBox]:
    return [BoundingBox("box", (1, 1), (3, 3), of=image) for image in images]


def labels(study: Study) -> Classification:
    return Classification({"series": len(study.series)})


def of_series(every: list[Series]) -> Classification:
    return Classification({"series": len(every)})


MODELS: list[Callable[..., Any]] = [on_volume, on_mr, on_many, on_image, on_images, boxes, labels, of_series]


def gap() -> list[Dataset]:
    return [*series()[:1], *series()[2:]]


STUDIES: dict[str, list[Dataset]] = {
    "a series": series(),
    "one image": series()[:1],
    "two series": [*series(1), *series(2)],
    "an MR": series(Modality="MR"),
    "a missing slice": gap(),
    "no place in the patient": series(ImagePositionPatient=None),
    **{
        f"no {keyword} in one image": [*series()[1:], *series(slices=1, **{keyword: ""})]
        for keyword in ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID")
    },
}


def files(study: list[Dataset], *, pixels: bool = True) -> list[Any]:
    parts = [convert_dataset_to_bytes(dataset) for dataset in study]
    ends = [len(part) if pixels else part.index(b"\xe0\x7f\x10\x00") for part in parts]
    return [io.BytesIO(part[:end]) for part, end in zip(parts, ends, strict=True)]


def inferred(model: TypedModel, study: list[Dataset], output: str) -> tuple[str, ...]:
    try:
        model.predict(Request({"output": output}, files(study), "a" * 64))
    except StudyRefused as refusal:
        return without_digests(refusal.members.get("reasons") or [refusal.detail])
    return ()


def without_digests(reasons: Iterable[str]) -> tuple[str, ...]:
    """Reasons without digests of files, which differ for a file that ends before its pixels."""
    return tuple(re.sub(r"\b[0-9a-f]{16}\b", "", reason) for reason in reasons)


@pytest.mark.parametrize("output", ["json", "dicom"])
@pytest.mark.parametrize("name", STUDIES)
def test_a_verdict_on_headers_is_that_of_the_inference(name: str, output: str) -> None:
    study = STUDIES[name]
    models = {target.__name__: TypedModel(target.__name__, target) for target in MODELS}
    verdicts = preflight(models, files(study, pixels=False), output)
    assert {verdict.model: without_digests(verdict.request.reasons) for verdict in verdicts} == {
        route: inferred(model, study, output) for route, model in models.items()
    }


def test_a_series_without_a_uid_that_the_answer_names_is_not_accepted() -> None:
    (verdict,) = preflight({"/": TypedModel("/", boxes)}, files(series(SOPInstanceUID=""), pixels=False))
    assert not verdict.request.accepted
    assert not any(acceptance.accepted for acceptance in verdict.series.values())
