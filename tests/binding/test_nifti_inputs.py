"""NIfTI files of a request: which argument each is for, what is stated of them, and what they cannot tell a model."""

import io
from typing import Any

import numpy as np
import pytest

from gateway import Attachment, Classification, Image, Mask, Requires, Series, StructuredReport, Study, Volume
from gateway.binding.preflight import preflight
from gateway.binding.typed_model import Options, TypedModel
from gateway.contract.requests import MODALITY, VOLUMES, Request
from gateway.dicom.samples import phantom
from gateway.errors import ParameterRefused, StudyRefused
from tests.dicom.volumes.nifti_files import VOXELS, nifti, packed

FILE = packed(nifti())


def dense(volume: Volume, level: float = 5) -> Mask:
    return Mask(volume.array > level)


def ask(target: Any, *files: bytes, options: Options | None = None, **json: Any) -> Any:
    request = Request(json, [io.BytesIO(file) for file in files], "0" * 64)
    return TypedModel("/", target, options).predict(request)


def refused(target: Any, *files: bytes, options: Options | None = None, **json: Any) -> str:
    with pytest.raises(StudyRefused) as caught:
        ask(target, *files, options=options, **json)
    return caught.value.detail


def test_a_file_is_the_volume_and_its_mask_names_it_by_its_digest() -> None:
    first, again, other = (ask(dense, file) for file in (FILE, FILE, nifti()))
    assert np.array_equal(first.buffers[0], VOXELS.T > 5)
    series = [one.json["parts"][0]["SeriesInstanceUID"] for one in (first, again, other)]
    assert series[0] == series[1] != series[2] and series[0].startswith("2.25.")


@pytest.mark.parametrize("kind", [Image, list[Image], Series, Study, Image | None])
def test_images_series_and_studies_are_dicom(kind: Any) -> None:
    def look(given: Any) -> Classification:
        return Classification({"given": 1})

    look.__annotations__["given"] = kind
    for file in (FILE, nifti()):
        assert "stands for a Volume alone" in refused(look, file)


def test_several_files_are_for_a_model_of_several_volumes() -> None:
    def count(volumes: list[Volume]) -> Classification:
        return Classification({"volumes": len(volumes)})

    assert ask(count, FILE, nifti()).json["study_ml_json"] == {"volumes": 2}
    assert "one volume" in refused(dense, FILE, nifti())


def test_two_volumes_of_one_model_are_not_guessed_at() -> None:
    def both(flair: Volume, t1: Volume) -> Mask:
        return Mask(flair.array > t1.array, of=flair)

    def later(image: Volume, prior: Volume | None = None) -> Classification:
        return Classification({"prior": prior is not None})

    assert "flair, t1" in refused(both, FILE, nifti())
    low, high = nifti(VOXELS), nifti(VOXELS + 1)
    assert not ask(both, low, high, **{VOLUMES: ["flair", "t1"]}).buffers[0].any()
    assert ask(both, low, high, **{VOLUMES: ["t1", "flair"]}).buffers[0].all()
    assert ask(later, low, high, **{VOLUMES: ["prior", "image"]}).json["study_ml_json"] == {"prior": True}
    assert ask(dense, low, **{VOLUMES: "volume"}).buffers
    wrongs: list[Any] = [["t1"], ["t1", "t1"], ["t1", "t2"], ["t1", 1], {}, "t1"]
    for wrong in wrongs:
        with pytest.raises(ParameterRefused) as caught:
            ask(both, low, high, **{VOLUMES: wrong})
        assert caught.value.pointer == f"/{VOLUMES}"
    assert ask(later, FILE).json["study_ml_json"] == {"prior": False}


def test_a_file_beside_dicom_or_for_a_model_without_a_volume_is_an_attachment() -> None:
    def told(level: Attachment, images: list[Image] | None = None) -> Classification:
        return Classification({"bytes": len(level.read()), "images": len(images or [])})

    dicom = []
    for dataset in phantom.datasets(slices=2, size=8):
        dataset.save_as(file := io.BytesIO(), enforce_file_format=True)
        dicom.append(file.getvalue())
    assert ask(told, *dicom, FILE).json["study_ml_json"] == {"bytes": len(FILE), "images": 2}
    assert ask(told, FILE).json["study_ml_json"] == {"bytes": len(FILE), "images": 0}
    assert "NIfTI" in refused(dense, *dicom, FILE)


@pytest.mark.parametrize("kind", [Study, Image])
def test_a_model_of_dicom_is_told_what_a_nifti_file_is_for(kind: Any) -> None:
    def predict(images: kind) -> Classification:
        return Classification({"seen": 1})

    assert "NIfTI" in refused(predict, FILE)


def test_the_modality_is_stated_by_the_sender() -> None:
    options = Options(requires=Requires(modality="CT"), forbid_unknown=True)
    assert ask(dense, FILE, options=options, **{MODALITY: "CT"}).buffers
    assert MODALITY in refused(dense, FILE, options=options)
    assert "MR" in refused(dense, FILE, options=options, **{MODALITY: "MR"})
    assert "no known modality" in refused(dense, FILE, options=options, **{MODALITY: "DOE"})
    for wrong in (1, "C" * 17, "Ü"):
        with pytest.raises(ParameterRefused):
            ask(dense, FILE, **{MODALITY: wrong})


def test_a_modality_of_no_nifti_file_is_refused() -> None:
    with pytest.raises(ParameterRefused) as caught:
        ask(dense, b"no NIfTI", **{MODALITY: "CT"})
    assert caught.value.members["errors"][0]["pointer"] == f"/{MODALITY}"


def test_conditions_of_a_series_are_asked_of_a_file() -> None:
    assert "at least 3 slices" in refused(dense, FILE, options=Options(requires=Requires(min_slices=3)))
    assert "description" in refused(dense, FILE, options=Options(requires=Requires(description="arterial")))
    wished = Options(requires=Requires(recommended=Requires(modality="CT")))
    conformance = ask(dense, FILE, options=wished).json["parts"][0]["dicomConformance"]
    assert conformance == {"recommended": [{"description": "CT", "compliant": False}]}


def test_an_answer_in_dicom_is_refused_before_the_model_runs() -> None:
    def fails(volume: Volume) -> Mask:
        raise AssertionError

    def report(volume: Volume) -> StructuredReport:
        return StructuredReport([])

    assert "DICOM" in refused(fails, FILE, output="dicom")
    assert "a NIfTI file has none" in refused(report, FILE)


def test_a_model_that_reads_dicom_attributes_names_the_attribute() -> None:
    def weigh(volume: Volume) -> Classification:
        return Classification({"kg": float(volume.header.PatientWeight)})

    assert "PatientWeight" in refused(weigh, FILE)


def test_preflight_judges_a_file_that_ends_after_its_header() -> None:
    models = {"/": TypedModel("/", dense, Options(requires=Requires(min_slices=3))), "/any": TypedModel("/any", dense)}
    demanding, any_volume = preflight(models, [io.BytesIO(nifti()[:352])])
    assert any_volume.request.accepted and "2" in demanding.request.reasons[0]


def test_preflight_judges_a_file_of_a_stated_modality() -> None:
    models = {"/": TypedModel("/", dense, Options(requires=Requires(modality="CT")))}
    verdicts = [preflight(models, [io.BytesIO(FILE)], modality=stated)[0].request for stated in (None, "MR", "CT")]
    assert [one.accepted for one in verdicts] == [False, False, True]
