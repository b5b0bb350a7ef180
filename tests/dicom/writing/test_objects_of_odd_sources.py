"""Objects made of a source that is itself not valid: its faults are mended or left out, never inherited."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, config

from gateway import BoundingBox, LinearMeasurement, Mask
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.volumes.images import Image, image
from tests.dicom.studies import image as slice_of
from tests.dicom.writing.object_cases import made, region, written
from tests.dicom.writing.test_objects_validity import new_errors
from tests.require import require

VALIDATOR = shutil.which("dciodvfy")
Change = Callable[[Dataset], Any]


def odd(change: Change, frames: int = 1) -> Image:
    """An image whose header was changed."""
    dataset = slice_of(frames=frames)
    settings = config.settings
    before = settings.reading_validation_mode, settings.writing_validation_mode
    settings.reading_validation_mode = settings.writing_validation_mode = config.IGNORE
    try:
        change(dataset)
        data = io.BytesIO()
        dataset.save_as(data, enforce_file_format=True)
    finally:
        settings.reading_validation_mode, settings.writing_validation_mode = before
    return image(read_instance(io.BytesIO(data.getvalue())))


def values(**attributes: Any) -> Change:
    return lambda dataset: [setattr(dataset, keyword, value) for keyword, value in attributes.items()]


MENDED: dict[str, tuple[Change, dict[str, Any]]] = {
    "a date with dots": (values(StudyDate="1997.04.24"), {"StudyDate": "19970424"}),
    "a date with dots of no month": (values(StudyDate="1997.13.24"), {"StudyDate": ""}),
    "a time with colons": (values(StudyTime="12:30:05.5"), {"StudyTime": "123005.5"}),
    "a date that is none": (values(StudyDate="yesterday"), {"StudyDate": ""}),
    "a sex that is not listed": (values(PatientSex="?"), {"PatientSex": ""}),
    "an age without a unit": (values(PatientAge="45"), {"PatientAge": None}),
    "an empty sequence": (values(ProcedureCodeSequence=[]), {"ProcedureCodeSequence": None}),
    "a species without a breed": (
        values(PatientSpeciesDescription="Mouse"),
        {"PatientSpeciesDescription": "Mouse", "PatientBreedDescription": "", "ResponsiblePerson": ""},
    ),
    "an identity removed in an unknown way": (
        values(PatientIdentityRemoved="YES"),
        {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "Not stated by the source"},
    ),
    "an identity removed in a known way": (
        values(PatientIdentityRemoved="YES", DeidentificationMethod="By hand"),
        {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "By hand"},
    ),
    "a weight and a size of zero": (
        values(PatientWeight="0", PatientSize="0.0"),
        {"PatientWeight": None, "PatientSize": None},
    ),
    "attributes of hospital records, retired ones and those of the source's series": (
        values(PatientAddress="Street 1", OtherPatientIDs="4711", ClinicalTrialSeriesID="1", PatientWeight="70"),
        {"PatientAddress": None, "OtherPatientIDs": None, "ClinicalTrialSeriesID": None, "PatientWeight": 70},
    ),
    "all as it should be": (values(StudyDate="19970424", PatientSex="F"), {"StudyDate": "19970424", "PatientSex": "F"}),
}


@pytest.mark.parametrize("fault", MENDED)
def test_a_fault_of_the_patient_or_the_study_is_not_inherited(fault: str) -> None:
    change, expected = MENDED[fault]
    of = odd(change)
    (dataset,) = made([Mask(region(of), "Region", of)], of)
    assert {keyword: dataset.get(keyword) for keyword in expected} == expected


@pytest.mark.parametrize("fault", MENDED)
def test_a_validator_finds_nothing_inherited(fault: str, tmp_path: Path) -> None:
    require(VALIDATOR, "dciodvfy of dicom3tools is not installed")
    of = odd(MENDED[fault][0])
    assert new_errors(tmp_path, written([Mask(region(of), "Region", of)], of), set()) == {}


CLASSES = {
    "Ultrasound Image (Retired)": "1.2.840.10008.5.1.4.1.1.6",
    "Nuclear Medicine (Retired)": "1.2.840.10008.5.1.4.1.1.5",
    "private": "1.3.46.670589.11.0.0.12.1",
}


@pytest.mark.parametrize("sop_class", CLASSES)
def test_a_box_on_an_image_of_a_retired_or_private_class_names_that_class(sop_class: str) -> None:
    def change(dataset: Dataset) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CLASSES[sop_class]

    of = odd(change)
    for dataset in made([BoundingBox("Box", (1, 1), (4, 4), of=of)], of):
        named = {str(one.value) for one in dataset.iterall() if one.keyword == "ReferencedSOPClassUID"}
        assert named == {CLASSES[sop_class]}


@pytest.mark.parametrize("width", [0, 0.5])
def test_a_window_without_a_width_is_left_out(width: float) -> None:
    of = odd(values(WindowCenter=0, WindowWidth=width))
    _, state = made([LinearMeasurement("Length", (1, 1), (4, 4), of=of)], of)
    assert "SoftcopyVOILUTSequence" not in state


def test_a_mark_on_all_frames_of_an_image_names_no_frame() -> None:
    one = odd(values(), frames=3)
    everywhere = Image(tuple((one.instance, frame) for frame in range(3)))
    third = image(one.instance, 2)
    for of, expected in ((everywhere, set()), (third, {3})):
        for dataset in made([BoundingBox("Box", (1, 1), (4, 4), of=of)], of):
            named = {one.value for one in dataset.iterall() if one.keyword == "ReferencedFrameNumber"}
            assert named == expected
