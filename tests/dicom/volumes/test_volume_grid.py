"""Slices that are nearly on an even grid: read with a remark, refused, or left to the author of the model."""

import numpy as np
import pytest

from gateway import Gateway, Mask, Requires, Volume
from gateway.dicom.volumes.nifti import convert_to_nifti
from gateway.dicom.volumes.study import study
from gateway.dicom.writing.objects import objects
from gateway.errors import StudyRefused
from tests.binding.asking import related
from tests.dicom.volumes.volume_series import parts, slice_at
from tests.dicom.writing.object_cases import PROVENANCE


def volume_at(heights: list[float], **allowances: object) -> Volume:
    datasets = [slice_at((0, 0, height), index) for index, height in enumerate(heights)]
    return study(parts(datasets)).series[0].volume(**allowances)


@pytest.mark.parametrize("step", [0.625, 0.75, 0.9766, 1.25, 1.75, 3.27])
def test_positions_of_one_decimal_make_a_volume_whose_step_is_the_true_one(step: float) -> None:
    made = volume_at([round(index * step, 1) for index in range(20)])
    assert made.spacing[0] == pytest.approx(step, abs=0.005)
    assert np.linalg.norm(made.affine[:3, 3]) < 0.1
    assert len(made.remarks) == 1
    (dataset,) = objects(
        [Mask(np.ones(made.shape, bool), "all", of=made)], source=made.instances, provenance=PROVENANCE
    )
    assert dataset.NumberOfFrames == 20


@pytest.mark.parametrize("heights", [[0, 10, 21.9, 30, 40], [0, 5, 10.4, 15, 20], [0, 1, 2.2, 3, 4]])
def test_a_slice_further_from_the_grid_than_a_tenth_of_the_step_or_a_third_of_a_millimetre_is_refused(
    heights: list[float],
) -> None:
    with pytest.raises(StudyRefused, match="not evenly spaced"):
        volume_at(heights)


@pytest.mark.parametrize("allowance", [None, 0.5, 10.0])
@pytest.mark.parametrize("slices", [4, 20, pytest.param(400, marks=pytest.mark.heavy)])
def test_a_missing_slice_is_refused_whatever_the_tolerance(slices: int, allowance: float | None) -> None:
    heights = [2.5 * index for index in range(slices) if index != 2]
    with pytest.raises(StudyRefused, match="missing"):
        volume_at(heights, spacing_tolerance=allowance)


def test_an_author_decides_how_far_slices_may_lie_from_the_grid() -> None:
    heights = [0, 2.5, 5.5, 7.5, 10]
    assert volume_at(heights, spacing_tolerance=0.2).shape[0] == 5
    with pytest.raises(StudyRefused):
        volume_at(heights, spacing_tolerance=0.1)
    with pytest.raises(StudyRefused):
        volume_at(heights)


@pytest.mark.parametrize(("requires", "status"), [(Requires(uneven=True), 200), (Requires(), 422)])
def test_a_model_that_needs_no_even_grid_accepts_any_steps(requires: Requires, status: int) -> None:
    app = Gateway("steps")

    @app.model("/", requires=requires)
    def model(volume: Volume) -> Mask:
        return Mask(np.ones(volume.shape, bool), "all")

    slices = [slice_at((0, 0, height), index) for index, height in enumerate([0, 12, 180])]
    body = related({}, slices)
    answer = app.test_client().post("/", data=body, content_type="multipart/related; boundary=b")
    assert answer.status_code == status


def test_rounded_positions_are_converted_to_nifti(tmp_path: object) -> None:
    pytest.importorskip("nibabel")
    datasets = [slice_at((0, 0, round(index * 1.25, 1)), index) for index in range(20)]
    convert_to_nifti(parts(datasets), f"{tmp_path}/rounded.nii")
