"""The position of a pixel in the patient, compared with SimpleITK and nibabel."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from gateway.dicom.reading import geometry
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.instances import Instance, read_instance, read_study, sort_spatially
from gateway.errors import StudyRefused
from tests.dicom.studies import AXIAL, image, put

Array = np.ndarray[Any, Any]

CORONAL, SAGITTAL = (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, -0.8)
ROWS, COLUMNS = 6, 9
SPACING = (0.75, 0.5)
GAP = 2.5
ORIENTATIONS = pytest.mark.parametrize(
    "orientation", [AXIAL, CORONAL, SAGITTAL, OBLIQUE], ids=["axial", "coronal", "sagittal", "oblique"]
)


def slices(count: int = 4, orientation: tuple[float, ...] = AXIAL, gaps: Array | None = None) -> list[Dataset]:
    """A stack along its normal, ``GAP`` mm apart or at the distances ``gaps``."""
    along = np.arange(count) * GAP if gaps is None else gaps
    across = np.cross(orientation[:3], orientation[3:])
    places = np.array([-31.5, 42.25, 7.0]) + along[:, None] * across
    return [
        image(
            name=str(index),
            number=index + 1,
            origin=[round(float(value), 6) for value in place],
            orientation=orientation,
            spacing=SPACING,
            size=(ROWS, COLUMNS),
        )
        for index, place in enumerate(places)
    ]


def stack(folder: Path, datasets: list[Dataset]) -> list[Instance]:
    for index, dataset in enumerate(datasets):
        put(folder, f"{index:02d}.dcm", dataset)
    return sort_spatially(read_study(folder))


def in_memory(*datasets: Dataset) -> list[Instance]:
    return [read_instance(BytesIO(convert_dataset_to_bytes(dataset))) for dataset in datasets]


def simple_itk(instances: list[Instance]) -> Any:
    """The same files as SimpleITK's image; its index counts (column, row, slice)."""
    library = pytest.importorskip("SimpleITK")
    return library.ReadImage([str(one.source) for one in instances])


def corners(count: int) -> list[tuple[int, int, int]]:
    return [(s, r, c) for s in (0, count - 1) for r in (0, ROWS - 1) for c in (0, COLUMNS - 1)]


@ORIENTATIONS
@pytest.mark.parametrize("turned", [False, True], ids=["sorted", "reversed"])
def test_simple_itk_puts_every_corner_at_the_same_millimetre(
    orientation: tuple[float, ...], turned: bool, tmp_path: Path
) -> None:
    instances = stack(tmp_path, slices(4, orientation))[:: -1 if turned else 1]
    matrix, theirs = geometry.affine(instances), simple_itk(instances)
    for index in corners(4):
        expected = theirs.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(geometry.to_patient(matrix, index), expected, atol=1e-4)


@ORIENTATIONS
def test_spacing_is_that_of_simple_itk(orientation: tuple[float, ...], tmp_path: Path) -> None:
    instances = stack(tmp_path, slices(4, orientation))
    np.testing.assert_allclose(
        geometry.spacing(geometry.affine(instances)), simple_itk(instances).GetSpacing()[::-1], atol=1e-5
    )


@ORIENTATIONS
def test_a_single_slice_lies_where_simple_itk_puts_it(orientation: tuple[float, ...], tmp_path: Path) -> None:
    [dataset] = slices(1, orientation)
    dataset.SliceThickness = 4
    instances = stack(tmp_path, [dataset])
    theirs = simple_itk(instances)
    for _, row, column in corners(1):
        found = geometry.to_patient(geometry.affine(instances), (0, row, column))
        np.testing.assert_allclose(found, theirs.TransformIndexToPhysicalPoint((column, row, 0)), atol=1e-4)
    assert geometry.spacing(geometry.affine(instances))[0] == pytest.approx(4)


@ORIENTATIONS
@pytest.mark.filterwarnings("ignore:The DICOM readers are highly experimental:UserWarning")
def test_nibabel_gives_a_slice_the_same_affine_but_for_its_third_axis_against_the_normal(
    orientation: tuple[float, ...], tmp_path: Path
) -> None:
    pytest.importorskip("nibabel")
    from nibabel.nicom.dicomwrappers import wrapper_from_file

    [dataset] = slices(1, orientation)
    dataset.SpacingBetweenSlices = GAP
    instances = stack(tmp_path, [dataset])
    theirs = np.asarray(wrapper_from_file(str(instances[0].source)).affine, dtype=float)
    np.testing.assert_allclose(geometry.affine(instances), theirs[:, [2, 0, 1, 3]] * (-1, 1, 1, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("depths", "step"),
    [
        ({"SpacingBetweenSlices": 3, "SliceThickness": 5}, 3),
        ({"SpacingBetweenSlices": -3}, 3),
        ({"SliceThickness": 5}, 5),
        ({"SpacingBetweenSlices": 0, "SliceThickness": 5}, 5),
        ({}, 1),
    ],
)
def test_a_single_slice_has_the_depth_of_its_header(depths: dict[str, float], step: float) -> None:
    [dataset] = slices(1, OBLIQUE)
    for keyword, depth in depths.items():
        setattr(dataset, keyword, depth)
    across = geometry.affine(in_memory(dataset))[:3, 0]
    np.testing.assert_allclose(across, step * geometry.normal(OBLIQUE), atol=1e-9)


@pytest.mark.parametrize("gaps", [[0, 2.5, 7.5], [0, 2.5, 6.2], [0, 0, 0]], ids=["missing", "moved", "at one place"])
def test_uneven_slices_are_refused_with_their_gaps(gaps: list[float]) -> None:
    instances = in_memory(*slices(3, OBLIQUE, np.array(gaps, dtype=float)))
    with pytest.raises(
        StudyRefused, match=rf"evenly spaced: .* {min(np.diff(gaps)):.2f} to {max(np.diff(gaps)):.2f} mm"
    ):
        geometry.affine(instances)


def test_slices_moved_by_less_than_a_hundredth_of_their_gap_count_as_even() -> None:
    instances = in_memory(*slices(3, gaps=np.array([0, 2.52, 5.0])))
    np.testing.assert_allclose(geometry.spacing(geometry.affine(instances)), (GAP, *SPACING))


def test_a_tilted_gantry_gives_the_sheared_matrix_that_it_scanned() -> None:
    datasets = slices(3)
    for index, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = [0, 0.7 * index, GAP * index]
    instances = in_memory(*datasets)
    np.testing.assert_allclose(geometry.affine(instances)[:3, 0], (0, 0.7, GAP))
    np.testing.assert_allclose(geometry.slice_gaps(instances), [GAP, GAP])


def test_gaps_are_signed_along_the_normal() -> None:
    instances = in_memory(*slices(3, OBLIQUE, np.array([0.0, 2.0, -1.0])))
    np.testing.assert_allclose(geometry.slice_gaps(instances), [2, -3], atol=1e-5)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"ImagePositionPatient": None}, "no valid position"),
        ({"ImageOrientationPatient": None}, "no valid position"),
        ({"ImageOrientationPatient": list(CORONAL)}, "not parallel"),
        ({"PixelSpacing": None}, "no pixel spacing"),
        ({"PixelSpacing": [0.0, 0.5]}, "is not positive"),
        ({"PixelSpacing": [0.75, 0.6]}, "differ in pixel spacing"),
        ({"Rows": ROWS + 1}, "differ in rows or columns"),
    ],
)
def test_an_image_unlike_the_first_is_refused(attributes: dict[str, Any], sentence: str) -> None:
    datasets = slices(3)
    for keyword, value in attributes.items():
        setattr(datasets[1], keyword, value)
    with pytest.raises(StudyRefused, match=sentence):
        geometry.affine(in_memory(*datasets))


def test_no_normal_is_made_up_for_a_broken_orientation() -> None:
    with pytest.raises(StudyRefused, match="perpendicular"):
        geometry.normal((1, 0, 0, 1, 0, 0))


COORDINATES = st.tuples(*[st.floats(-500, 500)] * 3)


@given(COORDINATES, st.sampled_from([AXIAL, CORONAL, SAGITTAL, OBLIQUE]))
def test_index_and_millimetre_are_inverses(index: tuple[float, ...], orientation: tuple[float, ...]) -> None:
    matrix = geometry.affine(in_memory(*slices(2, orientation)))
    np.testing.assert_allclose(geometry.to_index(matrix, geometry.to_patient(matrix, index)), index, atol=1e-6)


def test_many_points_are_moved_at_once() -> None:
    matrix = geometry.affine(in_memory(*slices(2)))
    indices = np.arange(24.0).reshape(2, 4, 3)
    moved = geometry.to_patient(matrix, indices)
    assert moved.shape == (2, 4, 3)
    np.testing.assert_allclose(moved[1, 2], geometry.to_patient(matrix, indices[1, 2]))


def test_lps_and_ras_differ_in_the_signs_of_x_and_y() -> None:
    matrix = geometry.affine(in_memory(*slices(2, OBLIQUE)))
    x, y, z = geometry.to_patient(matrix, (1, 2, 3))
    np.testing.assert_allclose(geometry.to_patient(geometry.flip_lps_ras(matrix), (1, 2, 3)), (-x, -y, z))
    np.testing.assert_array_equal(geometry.flip_lps_ras(geometry.flip_lps_ras(matrix)), matrix)
