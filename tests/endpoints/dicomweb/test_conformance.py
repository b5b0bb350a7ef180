"""The conformance statement is that of the code."""

import re
from typing import Any

from gateway.dicom.web.frames import MEDIA_TYPES
from gateway.dicom.web.query_attributes import ATTRIBUTES
from gateway.endpoints.dicomweb import RULES
from gateway.studies.query.query_tables import dicom_instances, dicom_series, dicom_studies
from gateway.studies.stow_upload import DUPLICATE, MISMATCH, UNREADABLE
from tests.house.pages import ROOT, rows

PAGE = ROOT / "docs/conformance.md"
ROLES = {"GET": "read", "POST": "write", "DELETE": "delete"}


def test_the_resources_are_those_of_the_code() -> None:
    paths = {(method, re.sub(r"<(?:path:)?(\w+)>", r"{\1}", path), ROLES[method]) for method, path, _ in RULES}
    assert {(method, path.strip("`"), role.strip("`")) for method, path, role in rows(PAGE, "method")} == paths


def test_the_attributes_are_those_of_the_code() -> None:
    listed = [list(map(str, (one.keyword, one.tag, one.level, one.matching))) for one in ATTRIBUTES]
    assert rows(PAGE, "attribute") == listed


def test_the_reasons_are_those_of_the_code() -> None:
    assert {int(reason.strip("`"), 16) for reason, _ in rows(PAGE, "reason")} == {DUPLICATE, MISMATCH, UNREADABLE}


def test_the_media_types_of_frames_are_those_of_the_code() -> None:
    assert {uid.strip("`"): name.strip("`") for uid, name in rows(PAGE, "transfer syntax")} == MEDIA_TYPES


def test_every_attribute_that_is_matched_has_its_column() -> None:
    tables: dict[str, Any] = {"study": dicom_studies, "series": dicom_series, "instance": dicom_instances}
    matched = [one for one in ATTRIBUTES if one.matching != "no matching" and one.keyword != "ModalitiesInStudy"]
    assert [one.keyword for one in matched if one.column not in tables[one.level].c] == []
