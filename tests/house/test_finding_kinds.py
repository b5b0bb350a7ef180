"""One road for findings: each class has its rows, and this test names the missing ones of a new class."""

from typing import get_args

import pytest

from gateway.contract.findings import (
    MASKS,
    Classification,
    Conformance,
    Finding,
    SecondaryCapture,
    StructuredReport,
)
from gateway.dicom.drawing.gallery import COUNTED
from gateway.dicom.drawing.layers import STYLES
from gateway.dicom.drawing.marks import MARKS
from gateway.dicom.writing.objects import WRITERS
from gateway.protocol.answers import FORMS
from gateway.protocol.kinds import KINDS

CLASSES = get_args(Finding)

NOT_LAID_OVER_IMAGES = {
    Classification: "written as lines of text",
    Conformance: "says nothing of an image",
    SecondaryCapture: "is a picture of its own",
    StructuredReport: "is a document of its own",
}

NOT_IN_DICOM = {Conformance: "a condition of the input, of which no object of DICOM speaks"}

READ_AS_DICOM = {SecondaryCapture, StructuredReport}
"""Findings that are DICOM parts, and have no reader of JSON."""


@pytest.mark.parametrize("finding", CLASSES)
def test_a_finding_is_written_to_the_protocol(finding: type) -> None:
    assert finding in FORMS


@pytest.mark.parametrize("finding", CLASSES)
def test_a_finding_is_read_from_the_protocol_in_one_place(finding: type) -> None:
    form = [kind for kind in KINDS.values() if kind.form is not None and kind.form.finding is finding]
    reader = FORMS[finding].read is not None
    assert len(form) + reader + (finding in READ_AS_DICOM) == 1


@pytest.mark.parametrize("finding", CLASSES)
def test_a_finding_has_a_picture_or_a_reason_against_one(finding: type) -> None:
    assert (finding in STYLES) + (finding in MARKS) + (finding in NOT_LAID_OVER_IMAGES) == 1
    assert (finding in COUNTED) == (finding not in NOT_LAID_OVER_IMAGES)


@pytest.mark.parametrize("finding", CLASSES)
def test_a_finding_has_a_writer_of_dicom_or_a_reason_against_one(finding: type) -> None:
    written = any(finding in writer.classes for writer in WRITERS)
    assert written == (finding not in NOT_IN_DICOM)


def test_the_tables_have_no_row_of_a_class_that_is_no_finding() -> None:
    rows = {*MASKS, *STYLES, *MARKS, *FORMS, *COUNTED, *(one for writer in WRITERS for one in writer.classes)}
    assert rows <= {*CLASSES}
    assert MASKS.keys() == STYLES.keys()
