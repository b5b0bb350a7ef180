"""A DICOM series becomes NIfTI with the same values at the same millimetres, and masks are read back from NIfTI."""

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from gateway.dicom.reading import geometry
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.instances import read_study, sort_spatially
from gateway.dicom.volumes.nifti import convert_to_nifti, get_masks_from_nifti_file, load_nifti_file
from gateway.errors import StudyRefused
from tests.dicom.studies import AXIAL, image, put, uid

nibabel = pytest.importorskip("nibabel")

Array = np.ndarray[Any, Any]

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, -0.8)
SHAPE = (3, 4, 6)
VALUES = np.arange(np.prod(SHAPE)).reshape(SHAPE)


def series(orientation: tuple[float, ...] = AXIAL, *, times: int = 1, slope: float = 1) -> list[Dataset]:
    """Slices whose stored values count on through the stack, and by 100 from one time point to the next."""
    across = np.cross(orientation[:3], orientation[3:])
    made = []
    for time in range(times):
        for index in range(SHAPE[0]):
            dataset = image(
                name=f"{time} {index}",
                number=time * SHAPE[0] + index + 1,
                origin=[round(float(value), 6) for value in np.array([-9.0, 21.0, 4.0]) + 2.5 * index * across],
                orientation=orientation,
                spacing=(0.75, 0.5),
                size=SHAPE[1:],
                pixels=VALUES[index] + 100 * time,
            )
            dataset.RescaleSlope, dataset.RescaleIntercept = slope, -50
            made.append(dataset)
    return made


def folder_of(folder: Path, datasets: list[Dataset]) -> Path:
    """The series under names that do not show its order."""
    for index, dataset in enumerate(datasets):
        put(folder, f"{index * 7 % 11:02d}.dcm", dataset)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "volume.nii.gz"


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE], ids=["axial", "oblique"])
def test_every_voxel_keeps_its_value_and_its_millimetre_in_ras(
    orientation: tuple[float, ...], tmp_path: Path, out: Path
) -> None:
    folder = folder_of(tmp_path / "study", series(orientation))
    convert_to_nifti(folder, out)
    found = nibabel.load(out)
    lps = geometry.affine(sort_spatially(read_study(folder)))
    for index in np.ndindex(SHAPE):
        x, y, z = geometry.to_patient(lps, index)
        assert found.dataobj[index[::-1]] == VALUES[index] - 50
        np.testing.assert_allclose(found.affine @ (*index[::-1], 1), (-x, -y, z, 1), atol=1e-4)


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE], ids=["axial", "oblique"])
def test_simple_itk_reads_the_same_volume_from_nifti_as_from_dicom(
    orientation: tuple[float, ...], tmp_path: Path, out: Path
) -> None:
    library = pytest.importorskip("SimpleITK")
    folder = folder_of(tmp_path / "study", series(orientation))
    convert_to_nifti(folder, out)
    ours = library.ReadImage(str(out))
    theirs = library.ReadImage([str(one.source) for one in sort_spatially(read_study(folder))])
    np.testing.assert_array_equal(library.GetArrayFromImage(ours), library.GetArrayFromImage(theirs))
    for name in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(ours, name)(), getattr(theirs, name)(), atol=1e-4)


def test_file_objects_in_any_order_give_the_volume_of_their_folder(tmp_path: Path, out: Path) -> None:
    datasets = series(OBLIQUE)
    convert_to_nifti(str(folder_of(tmp_path / "study", datasets)), str(out))
    files = [BytesIO(convert_dataset_to_bytes(dataset)) for dataset in reversed(datasets)]
    convert_to_nifti(files, tmp_path / "again.nii")
    expected, found = nibabel.load(out), nibabel.load(tmp_path / "again.nii")
    np.testing.assert_array_equal(found.get_fdata(), expected.get_fdata())
    np.testing.assert_array_equal(found.affine, expected.affine)
    assert not any(file.closed for file in files)


def test_time_points_are_the_fourth_axis(tmp_path: Path, out: Path) -> None:
    convert_to_nifti(folder_of(tmp_path / "study", series(times=2)), out)
    found = np.asarray(nibabel.load(out).dataobj)
    assert found.shape == (*SHAPE[::-1], 2)
    np.testing.assert_array_equal(found[..., 1], VALUES.T - 50 + 100)


@pytest.mark.parametrize(("slope", "dtype"), [(1, np.int16), (3, np.int16), (0.5, np.float32), (1000, np.float32)])
def test_values_are_integers_where_nothing_is_lost(slope: float, dtype: type, tmp_path: Path, out: Path) -> None:
    convert_to_nifti(folder_of(tmp_path / "study", series(slope=slope)), out)
    found = nibabel.load(out)
    assert found.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asarray(found.dataobj), VALUES.T * slope - 50)


def test_both_forms_of_the_affine_and_the_unit_are_written(tmp_path: Path, out: Path) -> None:
    convert_to_nifti(folder_of(tmp_path / "study", series(OBLIQUE)), out)
    header = nibabel.load(out).header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)
    assert header.get_xyzt_units()[0] == "mm"


def test_a_tilted_gantry_has_no_qform_since_none_can_represent_it(tmp_path: Path, out: Path) -> None:
    datasets = series()
    for index, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = [0, index, 2 * index]
    convert_to_nifti(folder_of(tmp_path / "study", datasets), out)
    found = nibabel.load(out)
    assert int(found.header["qform_code"]) == 0
    np.testing.assert_allclose(found.affine[:3, 2], (0, -1, 2), atol=1e-6)


def spoil(datasets: list[Dataset], how: str) -> list[Dataset]:
    if how == "several series":
        datasets[0].SeriesInstanceUID = uid("another")
    elif how == "several frames":
        datasets[0].NumberOfFrames, datasets[0].PixelData = 2, datasets[0].PixelData * 2
    elif how == "evenly":
        datasets[2].ImagePositionPatient = [-9, 21, 14]
    elif how == "Colour":
        for one in datasets:
            one.SamplesPerPixel, one.PhotometricInterpretation, one.PlanarConfiguration = 3, "RGB", 0
            one.PixelData = one.PixelData * 3
    elif how == "time points":
        for one in datasets[3:]:
            one.ImagePositionPatient = [0, *one.ImagePositionPatient[1:]]
    return datasets if how != "here are 0" else []


@pytest.mark.parametrize(
    ("how", "times", "sentence"),
    [
        ("several series", 1, "holds one series; here are 2"),
        ("here are 0", 1, "holds one series; here are 0"),
        ("several frames", 1, "NumberOfFrames"),
        ("evenly", 1, "not evenly spaced"),
        ("Colour", 1, "PhotometricInterpretation"),
        ("time points", 2, "do not lie at the same place"),
    ],
)
def test_what_is_no_single_grey_stack_is_refused_and_nothing_is_written(
    how: str, times: int, sentence: str, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "study").mkdir()
    folder = folder_of(tmp_path / "study", spoil(series(times=times), how))
    with pytest.raises(StudyRefused, match=sentence):
        convert_to_nifti(folder, out)
    assert not out.exists()


def test_a_nifti_file_is_read_back_as_slice_row_column(tmp_path: Path, out: Path) -> None:
    convert_to_nifti(folder_of(tmp_path / "study", series()), out)
    found = load_nifti_file(out)
    assert (found.shape, found.dtype, found.flags.c_contiguous) == (SHAPE, np.int16, True)
    np.testing.assert_array_equal(found, VALUES - 50)


def mask_file(folder: Path, array: Array) -> Path:
    """A NIfTI file whose (slice, row, column) are ``array``."""
    path = folder / "mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), path)
    return path


LABELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 5


def test_a_probability_mask_is_read_back_unchanged(tmp_path: Path) -> None:
    [mask] = get_masks_from_nifti_file(mask_file(tmp_path, LABELS * 50))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, LABELS * 50)


def test_a_binary_mask_is_read_back_as_0_and_255(tmp_path: Path) -> None:
    [mask] = get_masks_from_nifti_file(mask_file(tmp_path, LABELS), "binary")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.where(LABELS > 0, 255, 0))


def test_each_class_is_read_back_as_a_mask_of_its_own_without_the_background(tmp_path: Path) -> None:
    masks = get_masks_from_nifti_file(mask_file(tmp_path, LABELS), "multi_class", num_classes=4)
    assert isinstance(masks, np.ndarray) and (masks.shape, masks.dtype) == ((4, *LABELS.shape), np.uint8)
    for label, mask in enumerate(masks, start=1):
        np.testing.assert_array_equal(mask, (label == LABELS) * 255)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint16])
def test_masks_of_another_dtype_raise_an_error_that_names_the_conversion(dtype: type, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"masks are uint8, this file holds {np.dtype(dtype)}.*astype\(numpy.uint8\)"):
        get_masks_from_nifti_file(mask_file(tmp_path, LABELS.astype(dtype)))


def test_an_unknown_kind_of_mask_raises_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'probability_mask', 'binary' or 'multi_class', not 'heatmap'"):
        get_masks_from_nifti_file(mask_file(tmp_path, LABELS), "heatmap")


def test_without_nibabel_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, out: Path) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)  # Python's own way to make an import fail
    with pytest.raises(ImportError, match="pip install 'nibabel"):
        load_nifti_file(out)
    with pytest.raises(ImportError, match="pip install 'nibabel"):
        convert_to_nifti(tmp_path, out)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "PatientID", "Modality", "FrameOfReferenceUID"])
def test_a_slice_of_another_study_patient_modality_or_frame_is_refused(keyword: str, tmp_path: Path, out: Path) -> None:
    slices = series()
    for one in slices:
        setattr(one, keyword, "1")
    setattr(slices[1], keyword, "2")
    with pytest.raises(StudyRefused):
        convert_to_nifti(folder_of(tmp_path / "study", slices), out)


@pytest.mark.parametrize("lacking", ["RescaleSlope", "RescaleIntercept"])
def test_a_slice_with_half_a_rescale_is_refused(lacking: str, tmp_path: Path, out: Path) -> None:
    slices = series()
    delattr(slices[1], lacking)
    with pytest.raises(StudyRefused, match=lacking):
        convert_to_nifti(folder_of(tmp_path / "study", slices), out)
