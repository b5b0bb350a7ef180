"""Images that resemble slices or time points: mosaics, twins of one UID, echoes, magnitude with phase."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from gateway import Mask
from gateway.dicom.volumes.nifti import convert_to_nifti
from gateway.dicom.volumes.study import image, study
from gateway.dicom.writing.objects import objects
from gateway.errors import StudyRefused
from tests.dicom.volumes.volume_series import multi_frame, parts, series, slice_at
from tests.dicom.writing.object_cases import PROVENANCE

IMAGE_TYPE = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]


def mosaic(*, by: str, index: int = 0) -> Dataset:
    dataset = slice_at((-324, -324, 16), index, SOPClassUID=MRImageStorage, Modality="MR")
    if by == "image type":
        dataset.ImageType = IMAGE_TYPE
    else:
        dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 36)
    return dataset


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("by", ["image type", "private count"])
def test_a_mosaic_is_refused_as_a_volume_and_a_nifti_file(by: str, times: int, tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    files = parts([mosaic(by=by, index=index) for index in range(times)])
    with pytest.raises(StudyRefused, match="mosaic"):
        study(files).series[0].volume()
    with pytest.raises(StudyRefused, match="mosaic"):
        convert_to_nifti(files, tmp_path / "out.nii")


@pytest.mark.parametrize("by", ["image type", "private count"])
def test_a_mosaic_is_an_image_without_a_place_and_bears_no_segmentation(by: str) -> None:
    (instance,) = study(parts([mosaic(by=by)])).instances
    seen = image(instance)
    assert seen.affine is None
    assert seen.array.shape == seen.shape
    with pytest.raises(StudyRefused, match="mosaic"):
        objects([Mask(np.ones(seen.shape, bool), "all", of=seen)], source=[instance], provenance=PROVENANCE)


def test_an_enhanced_image_that_was_made_of_a_mosaic_is_a_volume() -> None:
    dataset = multi_frame(series())
    dataset.SOPClassUID, dataset.ImageType = EnhancedMRImageStorage, IMAGE_TYPE
    assert study(parts([dataset])).series[0].volume().shape[0] == 5


def test_two_instances_of_one_uid_are_refused() -> None:
    first = slice_at((0, 0, 0))
    second = slice_at((0, 0, 2), 1, SOPInstanceUID=first.SOPInstanceUID)
    with pytest.raises(StudyRefused, match="SOPInstanceUID"):
        study(parts([first, second]))
    with pytest.raises(StudyRefused, match="SOPInstanceUID"):
        study(parts([first, copy.deepcopy(first)]))


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("EchoTime", (4.9, 7.4)),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"])),
        ("ImageType", (["ORIGINAL", "PRIMARY", "DIFFUSION"], ["DERIVED", "PRIMARY", "ADC"])),
        ("DiffusionBValue", (0.0, 1000.0)),
    ],
)
def test_images_at_one_position_that_differ_in_kind_are_no_time_points(
    keyword: str, values: tuple[Any, Any], tmp_path: Path
) -> None:
    nibabel = pytest.importorskip("nibabel")
    both = [*series(3), *series(3)]
    for index, dataset in enumerate(both):
        dataset.InstanceNumber = index + 1
        setattr(dataset, keyword, values[0])
    convert_to_nifti(parts(both), tmp_path / "times.nii")
    assert nibabel.load(tmp_path / "times.nii").shape[2:] == (3, 2)
    for dataset in both[3:]:
        setattr(dataset, keyword, values[1])
    with pytest.raises(StudyRefused, match=keyword):
        convert_to_nifti(parts(both), tmp_path / "kinds.nii")
