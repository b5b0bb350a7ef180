"""A volume has the position that other readers compute, in whatever order its slices arrive."""

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from gateway.dicom.reading.geometry import to_patient
from gateway.dicom.volumes.study import Volume, image, split, study
from gateway.errors import StudyRefused
from tests.dicom.volumes.volume_series import (
    COLUMNS,
    ROWS,
    SPACING,
    multi_frame,
    parts,
    rotation,
    series,
    slice_at,
    stored,
)
from tests.examples import examples

NEAR_MM = 1e-4
CORNERS = [(row, column) for row in (0, ROWS - 1) for column in (0, COLUMNS - 1)]
TURNS = {"axial": (0, 0, 0), "coronal": (90, 0, 0), "sagittal": (0, 90, 90), "oblique": (12, -25, 40)}
ORDERS: dict[str, Any] = {
    "in order": list,
    "reversed": lambda slices: slices[::-1],
    "shuffled": lambda slices: random.Random(4).sample(slices, len(slices)),
}


def volume_of(datasets: list[Dataset], **options: Any) -> Volume:
    return study(parts(datasets)).series[0].volume(**options)


def nibabel_affine(dataset: Dataset) -> np.ndarray:
    """(4, 4): (row, column, slice, 1) of one image -> mm LPS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its reader experimental
        from nibabel.nicom.dicomwrappers import wrapper_from_data

        return np.asarray(wrapper_from_data(dataset).affine)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("turn", TURNS)
def test_a_volume_has_the_voxels_and_the_places_that_simpleitk_reads(turn: str, order: str, tmp_path: Path) -> None:
    slices = ORDERS[order](series(turn=rotation(*TURNS[turn])))
    for number, part in enumerate(parts(slices)):
        (tmp_path / f"{number}.dcm").write_bytes(part.getvalue())
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    theirs, ours = reader.Execute(), volume_of(slices)
    assert np.array_equal(SimpleITK.GetArrayFromImage(theirs), ours.array)
    for index in [(plane, *corner) for plane in (0, 4) for corner in CORNERS]:
        place = theirs.TransformIndexToPhysicalPoint(index[::-1])
        assert np.abs(to_patient(ours.affine, index) - place).max() < NEAR_MM
    assert np.allclose(ours.spacing, theirs.GetSpacing()[::-1], atol=NEAR_MM)


@pytest.mark.parametrize("shear", [0.0, 1.2])
@pytest.mark.parametrize("turn", TURNS)
def test_each_slice_has_the_position_of_nibabel_a_tilted_one_too(turn: str, shear: float) -> None:
    slices = ORDERS["shuffled"](series(turn=rotation(*TURNS[turn]), shear=shear))
    volume = volume_of(slices, allow_tilt=True)
    sources = {one.SOPInstanceUID: one for one in slices}
    for plane, (instance, _) in enumerate(volume.frames):
        theirs = nibabel_affine(sources[instance.sop_instance_uid])
        for row, column in CORNERS:
            place = (theirs @ (row, column, 0, 1))[:3]
            assert np.abs(to_patient(volume.affine, (plane, row, column)) - place).max() < NEAR_MM


@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    gap=st.floats(0.3, 20),
    count=st.integers(1, 9),
    seed=st.randoms(use_true_random=False),
)
@settings(max_examples=examples(60), deadline=None)
def test_every_slice_starts_at_its_own_position(
    angles: tuple[float, float, float], gap: float, count: int, seed: random.Random
) -> None:
    slices = series(count, gap=gap, turn=rotation(*angles))
    volume = volume_of(seed.sample(slices, count))
    for plane, expected in enumerate(slices):
        assert np.allclose(to_patient(volume.affine, (plane, 0, 0)), expected.ImagePositionPatient, atol=NEAR_MM)
        assert np.array_equal(volume.stored[plane], stored(plane))
    assert np.linalg.det(volume.affine[:3, :3]) != 0


def test_instance_numbers_and_the_order_of_arrival_do_not_determine_position() -> None:
    slices = series()
    for one in slices:
        one.InstanceNumber = 100 - one.InstanceNumber
    volume = volume_of(ORDERS["shuffled"](slices))
    assert [instance.sop_instance_uid for instance in volume.instances] == [one.SOPInstanceUID for one in slices]
    assert np.array_equal(volume.array[:, 0, 0], np.arange(5) * 10 - 1024)


def test_one_image_is_a_volume_of_one_slice_with_the_stated_thickness() -> None:
    volume = volume_of([slice_at((1, 2, 3), SliceThickness=4.0)])
    assert volume.shape == (1, ROWS, COLUMNS)
    assert volume.spacing.tolist() == [4.0, *SPACING]
    assert to_patient(volume.affine, (0, 0, 0)).tolist() == [1, 2, 3]


@pytest.mark.parametrize("turn", TURNS)
def test_the_frames_of_an_enhanced_image_lie_as_its_slices_would(turn: str) -> None:
    slices = series(turn=rotation(*TURNS[turn]))
    shuffled = ORDERS["shuffled"](slices)
    classic, enhanced = volume_of(slices), volume_of([multi_frame(shuffled)])
    assert np.allclose(enhanced.affine, classic.affine, atol=NEAR_MM)
    assert np.array_equal(enhanced.stored, classic.stored)
    assert [frame for _, frame in enhanced.frames] == [shuffled.index(one) for one in slices]
    assert len(enhanced.instances) == 1


def test_each_frame_of_an_enhanced_image_has_its_own_rescale() -> None:
    volume = volume_of([multi_frame(series(3))])
    assert np.array_equal(volume.array, np.stack([stored(index) * float(index + 1) - 7 for index in range(3)]))
    assert volume.remarks == ("The rescale differs from slice to slice; each was given its own.",)


def test_simpleitk_agrees_on_an_enhanced_image(tmp_path: Path) -> None:
    (part,) = parts([multi_frame(series(turn=rotation(12, -25, 40)))])
    (tmp_path / "enhanced.dcm").write_bytes(part.getvalue())
    theirs, ours = SimpleITK.ReadImage(str(tmp_path / "enhanced.dcm")), study([part]).series[0].volume()
    for index in [(plane, *corner) for plane in (0, 4) for corner in CORNERS]:
        place = theirs.TransformIndexToPhysicalPoint(index[::-1])
        assert np.abs(to_patient(ours.affine, index) - place).max() < NEAR_MM


def test_a_tilted_gantry_is_refused_with_its_angle_unless_it_is_accepted() -> None:
    slices = series(gap=2.5, shear=1.2)
    with pytest.raises(StudyRefused, match=r"tilted by 25\.6 degrees"):
        volume_of(slices)
    volume = volume_of(slices, allow_tilt=True)
    assert volume.tilt == pytest.approx(np.degrees(np.arctan2(1.2, 2.5)))
    assert "tilted by 25.6 degrees" in volume.remarks[0]


def test_an_image_has_its_position_or_no_position_where_that_is_unknown() -> None:
    (placed,), _ = split(parts([slice_at((1, 2, 3))]))
    affine, spacing = image(placed).affine, image(placed).spacing
    assert affine is not None and to_patient(affine, (0, ROWS - 1, 0)).tolist() == [1, 2 + (ROWS - 1) * SPACING[0], 3]
    assert spacing is not None and spacing.tolist() == list(SPACING)
    (lost,), _ = split(parts([slice_at((1, 2, 3), ImagePositionPatient=None, PixelSpacing=None)]))
    assert image(lost).affine is None and image(lost).spacing is None


def test_a_frame_of_an_enhanced_image_has_the_position_of_its_own_group() -> None:
    slices = series(3)
    (instance,), _ = split(parts([multi_frame(slices)]))
    affine = image(instance, 2).affine
    assert affine is not None
    assert np.allclose(to_patient(affine, (0, 0, 0)), slices[2].ImagePositionPatient)
