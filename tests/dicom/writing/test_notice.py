"""Notices: a study that was not analysed says so, in the patient's study and in a valid object."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import BasicTextSRStorage, SecondaryCaptureImageStorage

from gateway.dicom.reading.instances import read_instance
from gateway.dicom.writing.notice import LONGEST, Cause, notice
from tests.dicom.writing.object_cases import FILES, LATER, PROVENANCE, classic
from tests.dicom.writing.test_objects_validity import errors
from tests.require import require

VALIDATOR = shutil.which("dciodvfy")
REASON = "This model needs a series of at least 100 slices; the series has 5."
SOURCE = classic().instances


def made(form: str = "sr", cause: Cause = Cause.REFUSED, reason: str = REASON) -> Dataset:
    data = notice(form, cause, reason, source=SOURCE, provenance=PROVENANCE)
    return dcmread(io.BytesIO(data))


def texts(document: Dataset) -> list[str]:
    return [
        item.TextValue for item in document.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "121106"
    ]


@pytest.mark.parametrize("form", ["sr", "capture"])
@pytest.mark.parametrize("cause", Cause)
def test_a_notice_has_no_error_of_its_own(form: str, cause: Cause, tmp_path: Path) -> None:
    require(VALIDATOR, "dciodvfy of dicom3tools is not installed")
    (tmp_path / "source.dcm").write_bytes(SOURCE[0].source.getvalue())
    made(form, cause).save_as(tmp_path / "notice.dcm", enforce_file_format=True)
    assert errors(tmp_path / "notice.dcm") - errors(tmp_path / "source.dcm") == set()


def test_a_report_is_in_the_patient_s_study_and_says_which_images_were_not_analysed() -> None:
    document, header = made(), SOURCE[0].header
    assert document.SOPClassUID == document.file_meta.MediaStorageSOPClassUID == BasicTextSRStorage
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate"):
        assert document.get(keyword) == header.get(keyword)
    (series,) = document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert series.SeriesInstanceUID == header.SeriesInstanceUID
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence} == {
        one.sop_instance_uid for one in SOURCE
    }
    assert {one.ReferencedSOPClassUID for one in series.ReferencedSOPSequence} == {header.SOPClassUID}


def test_its_text_names_the_model_and_has_the_reason() -> None:
    (text,) = texts(made())
    assert text.startswith("The model Lung nodules 1.2.0 has not analysed this study")
    assert REASON in text
    assert made().ConceptNameCodeSequence[0].CodeMeaning == made().SeriesDescription == "Not analysed"


@pytest.mark.parametrize(("cause", "status"), [(Cause.REFUSED, "111225"), (Cause.FAILED, "111224")])
def test_a_program_reads_the_cause_from_a_code(cause: Cause, status: str) -> None:
    (summary,) = [
        item for item in made(cause=cause).ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "111065"
    ]
    assert summary.ConceptCodeSequence[0].CodeValue == status


def test_a_capture_is_a_picture_as_high_as_its_text() -> None:
    picture, longer = made("capture"), made("capture", reason=REASON * 20)
    assert picture.SOPClassUID == SecondaryCaptureImageStorage
    assert picture.pixel_array.shape == (384, 768)
    assert longer.Rows > picture.Rows
    assert len(np.unique(picture.pixel_array)) > 2
    assert not picture.pixel_array[:, -16:].any()


@pytest.mark.parametrize("form", ["sr", "capture"])
def test_the_same_notice_is_the_same_bytes_and_another_reason_another_object(form: str) -> None:
    def once(reason: str = REASON, **more: object) -> bytes:
        given = replace(PROVENANCE, **more)
        return notice(form, Cause.REFUSED, reason, source=SOURCE, provenance=given)

    assert once() == once()
    uids = {
        dcmread(io.BytesIO(data)).SOPInstanceUID
        for data in (once(), once("Else."), once(model_name="b"), once(received=LATER.received))
    }
    assert len(uids) == 3  # another time makes no other object


def test_a_reason_of_any_text_is_one_line_and_bounded() -> None:
    (text,) = texts(made(reason="a\\b\n\x00\x1b[31mred " + "x" * 10_000))
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) < LONGEST + 250
    made("capture", reason="\u8102\u80ba \U0001f9ea " + "y" * 3_000)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "rtdose.dcm", "test-SR.dcm", "examples_palette.dcm", "waveform_ecg.dcm"]
)
@pytest.mark.parametrize("form", ["sr", "capture"])
def test_any_object_may_be_what_was_not_analysed(name: str, form: str) -> None:
    source = [read_instance(FILES / name)]
    data = notice(form, Cause.FAILED, "It ended.", source=source, provenance=PROVENANCE)
    assert dcmread(io.BytesIO(data)).StudyInstanceUID == source[0].header.StudyInstanceUID
