"""Audit messages of DICOM: for each record of DICOMweb one, of the form of PS3.15 A.5.1, without a patient's values."""

import base64
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from gateway.access.callers import Caller
from gateway.observe.audit.dicom_messages import EVENTS, message
from tests.endpoints.dicomweb.web import AS_STORED, body, callers, place, uids
from tests.studies.files import file
from tests.waiting import eventually

CHILDREN = {
    "AuditMessage": [
        "EventIdentification",
        "ActiveParticipant",
        "AuditSourceIdentification",
        "ParticipantObjectIdentification",
    ],
    "EventIdentification": ["EventID"],
    "ActiveParticipant": ["RoleIDCode"],
    "AuditSourceIdentification": ["AuditSourceTypeCode"],
    "ParticipantObjectIdentification": [
        "ParticipantObjectIDTypeCode",
        "ParticipantObjectName",
        "ParticipantObjectQuery",
        "ParticipantObjectDetail",
    ],
}
"""The elements within each, in the order of the schema of PS3.15 A.5.1."""
REQUIRED = {
    "EventIdentification": {"EventDateTime", "EventOutcomeIndicator"},
    "ActiveParticipant": {"UserID", "UserIsRequestor"},
    "AuditSourceIdentification": {"AuditSourceID"},
    "ParticipantObjectIdentification": {"ParticipantObjectID"},
    "ParticipantObjectDetail": {"type", "value"},
    **dict.fromkeys(
        ("EventID", "RoleIDCode", "AuditSourceTypeCode", "ParticipantObjectIDTypeCode"),
        {"csd-code", "codeSystemName", "originalText"},
    ),
}


def check(element: Element) -> None:
    """Check an element against the schema."""
    names = [child.tag for child in element]
    order = CHILDREN.get(element.tag, [])
    assert [order.index(name) for name in names] == sorted(order.index(name) for name in names)
    assert REQUIRED.get(element.tag, set()) <= element.attrib.keys()
    for child in element:
        check(child)


def test_each_record_of_dicomweb_is_a_message(tmp_path: Path) -> None:
    caller, out = Caller("pacs", frozenset({"read", "write", "delete"})), tmp_path / "messages.xml"
    web = callers(tmp_path, caller, audit_file=tmp_path / "audit.jsonl", audit_messages=out)["pacs"]
    data = file("one").data
    assert web.post(body([data, b"no DICOM"])).status_code == 202
    assert len(web.find(PatientName="doe*")) == 1
    assert web.get(place(data), AS_STORED).status_code == 200
    assert web.delete(f"/studies/{uids(data)[0]}").status_code == 204
    eventually(lambda: out.exists() and len(out.read_bytes().splitlines()) == 4)
    assert out.stat().st_mode & 0o077 == 0
    messages = [fromstring(line) for line in out.read_bytes().splitlines()]
    for one in messages:
        check(one)
    heads = [(one[0].get("EventActionCode"), one[0][0].get("csd-code")) for one in messages]
    assert [one[0].get("EventOutcomeIndicator") for one in messages] == ["4", "0", "0", "0"]
    assert heads == [
        ("C", "110104"),
        ("E", "110112"),
        ("R", "110104"),
        ("D", "110105"),
    ]
    requestors = [one.findall("ActiveParticipant")[0] for one in messages]
    assert {one.get("UserID") for one in requestors} == {"pacs"}
    assert [one[0].get("csd-code") for one in requestors] == ["110153", "110152", "110152", "110153"]
    assert not [word for word in ("doe", "Doe", "MRN-4711", *uids(data)) if word in out.read_text()]


@pytest.mark.parametrize(
    ("members", "outcome"),
    [({"status": 200}, "0"), ({"status": 409}, "4"), ({"status": 507}, "8"), ({"complete": False}, "4")],
)
def test_the_outcome_is_that_of_the_record(members: dict[str, object], outcome: str) -> None:
    record = {"kind": "dicomweb-store", "time": "2026-11-28T00:00:00.000000Z", "caller": "", "study": "0" * 64}
    event = fromstring(message(record | members)).find("EventIdentification")
    assert event is not None
    assert event.get("EventOutcomeIndicator") == outcome


def test_a_study_is_named_by_its_uid_where_the_record_does() -> None:
    record = {"kind": "dicomweb-retrieve", "time": "", "caller": "a<b", "study": "0" * 64, "instances": 3}
    for more, expected in (({}, "0" * 64), ({"study_uid": "1.2.3"}, "1.2.3")):
        found = fromstring(message(record | more)).find("ParticipantObjectIdentification")
        assert found is not None
        assert found.get("ParticipantObjectID") == expected
        assert base64.b64decode(found[2].get("value", "")) == b"3"


def test_every_kind_of_record_of_dicomweb_is_a_message() -> None:
    page = (Path(__file__).parents[2] / "docs/dicomweb.md").read_text()
    kinds = {word.strip("`") for word in page.replace(",", " ").split() if word.startswith("`dicomweb-")}
    assert kinds == {kind for kind in EVENTS if kind.startswith("dicomweb-")}


@pytest.mark.parametrize("kind", ["ui-studies", "ui-study", "ui-picture", "monai-image"])
def test_other_doors_that_send_studies_write_messages_too(kind: str) -> None:
    study = {} if kind == "ui-studies" else {"study": "0" * 64}
    record = {"kind": kind, "time": "", "caller": "reader", **study, "matches": 1}
    root = fromstring(message(record))
    found = root.find("ParticipantObjectIdentification")
    assert found is not None
    assert found.attrib["ParticipantObjectID"] == ("STUDY" if kind == "ui-studies" else "0" * 64)
