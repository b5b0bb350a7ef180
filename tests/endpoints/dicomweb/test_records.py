"""The audit of DICOMweb: a record for each store, search, retrieval and removal, without a value of a patient."""

import hashlib
import json
from pathlib import Path
from typing import Any

from gateway.access.callers import Caller
from tests.endpoints.dicomweb.web import AS_STORED, Web, body, callers, place, uids
from tests.studies.files import file


def used(folder: Path, **settings: Any) -> tuple[Web, list[dict[str, Any]], bytes]:
    """A client that has done everything once, the records of that, and its file."""
    caller = Caller("pacs", frozenset({"read", "write", "delete"}))
    web = callers(folder, caller, audit_file=folder / "audit.jsonl", **settings)["pacs"]
    data = file("one").data
    assert web.post(body([data, b"no DICOM"])).status_code == 202
    assert len(web.find(PatientName="doe*")) == 1
    for path, accept in (("", AS_STORED), ("/metadata", ""), ("/frames/1", ""), ("/rendered", "")):
        assert web.get(place(data) + path, accept).status_code == 200
    assert web.delete(f"/studies/{uids(data)[0]}").status_code == 204
    records = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    return web, [record for record in records if record.get("kind")], data


def test_each_request_leaves_its_record(tmp_path: Path) -> None:
    _, records, data = used(tmp_path)
    kinds = ["store", "query", "retrieve", "metadata", "frames", "rendered"]
    assert [record["kind"] for record in records] == [
        *(f"dicomweb-{kind}" for kind in kinds),
        "forgotten",
        "dicomweb-delete",
    ]
    digest = hashlib.sha256(uids(data)[0].encode()).hexdigest()
    assert {record["study"] for record in records if record["kind"] != "dicomweb-query"} == {digest}
    assert {record["caller"] for record in records} == {"pacs"}
    stored, query, retrieved = records[:3]
    assert (stored["instances"], stored["failures"], stored["status"]) == (1, 1, 202)
    assert (query["level"], query["matches"]) == ("study", 1)
    assert (retrieved["instances"], retrieved["complete"]) == (1, True)


def test_no_record_names_a_patient_or_a_uid(tmp_path: Path) -> None:
    _, records, data = used(tmp_path)
    text = json.dumps(records)
    assert not [word for word in ("doe", "Doe", "MRN-4711", *uids(data)) if word in text]


def test_uids_are_recorded_where_that_is_set(tmp_path: Path) -> None:
    _, records, data = used(tmp_path, audit_uids=True)
    assert {record.get("study_uid") for record in records if record["kind"] == "dicomweb-retrieve"} == {uids(data)[0]}


def test_nothing_is_answered_where_a_required_record_cannot_be_written(tmp_path: Path) -> None:
    web, _, data = used(tmp_path, audit_required=True)
    (tmp_path / "audit.jsonl").unlink()
    (tmp_path / "audit.jsonl").mkdir()
    web.get("/studies")  # whose record is the first that the file does not take
    refused = [web.store(data), web.get("/studies"), web.get("/studies/1.2.3"), web.get("/studies/1.2.3/metadata")]
    assert [answer.status_code for answer in refused] == [503] * 4


def test_a_store_that_fails_leaves_its_outcome(tmp_path: Path) -> None:
    caller = Caller("pacs", frozenset({"write"}))
    web = callers(tmp_path, caller, audit_file=tmp_path / "audit.jsonl", store_max_bytes=1000)["pacs"]
    whole = body([file("one").data])
    statuses = [web.post(data, *more).status_code for data, *more in ((whole[:-100],), (whole,), (whole, "image/jpeg"))]
    records = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert statuses == [400, 507, 415]
    assert [(one["kind"], one["instances"], one["status"]) for one in records] == [
        ("dicomweb-store", 0, status) for status in statuses
    ]
