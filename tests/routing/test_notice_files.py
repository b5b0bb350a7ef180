"""The notice of a rule: none, or an object in the study whose bytes are the same in every process."""

import io
from dataclasses import replace

from pydicom import dcmread
from pydicom.uid import BasicTextSRStorage, SecondaryCaptureImageStorage

from gateway.dicom.writing.notice import Cause
from gateway.routing.notice_files import notice_file
from gateway.routing.rules import Notice, Rule, Sources
from tests.apps.routed import app
from tests.studies.files import files

RULE = Rule("thick", "/thick", Sources(callers=("*",)), parameters={"a": 1})
STUDY = files(3)


def made(notice: Notice, made_at: float = 1_800_000_000.25) -> bytes | None:
    given = [io.BytesIO(file.data) for file in STUDY]
    return notice_file(
        replace(RULE, notice=notice),
        app.service.models["/thick"],
        Cause.REFUSED,
        "It needs more slices.",
        files=given,
        content="a" * 64,
        made_at=made_at,
    )


def test_a_rule_without_a_notice_has_none() -> None:
    assert made("none") is None


def test_a_notice_is_an_object_of_the_study_made_at_that_time() -> None:
    for notice, sop_class in (("sr", BasicTextSRStorage), ("capture", SecondaryCaptureImageStorage)):
        data = made(notice)
        assert data is not None
        assert data == made(notice)
        document = dcmread(io.BytesIO(data))
        assert document.SOPClassUID == sop_class
        assert document.StudyInstanceUID == STUDY[0].entry.study_instance_uid
        assert (document.SeriesDate, document.SeriesTime) == ("20270115", "080000.250000")
