"""STOW-RS: whole instances are stored or none, each failure has its reason, and nothing is left of a broken request."""

import io
from pathlib import Path

import pydicom
import pytest
import requests

from gateway.access.callers import Caller
from tests.endpoints.dicomweb.web import (
    FAILED,
    OTHERS,
    PARTS,
    REASON,
    SOP,
    STORED,
    Web,
    application,
    body,
    callers,
    encoded,
    place,
    sample,
    uids,
)
from tests.studies.files import file, files

SOP_INSTANCE = "00080018"
WRITER = frozenset({"read", "write", "delete"})


def reasons(answer: requests.Response, sequence: str = FAILED) -> list[int]:
    return [item[REASON]["Value"][0] for item in answer.json().get(sequence, {}).get("Value", [])]


def stored(answer: requests.Response) -> list[str]:
    return [item[SOP]["Value"][0] for item in answer.json().get(STORED, {}).get("Value", [])]


def incoming(web: Web) -> list[Path]:
    return list((web.app.settings.store_folder / "incoming").iterdir())


def problem(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def test_a_stored_study_comes_back_and_is_found(web: Web) -> None:
    sent = files(3)
    answer = web.store(*(one.data for one in sent))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/dicom+json"
    assert sorted(stored(answer)) == sorted(one.entry.sop_instance_uid for one in sent)
    assert web.find()[0]["00201208"]["Value"] == [3]


def test_the_same_file_again_is_no_failure(web: Web) -> None:
    one = file("one").data
    assert [web.store(one, one).status_code, web.store(one).status_code] == [200, 200]
    assert web.find()[0]["00201208"]["Value"] == [1]


def test_another_file_of_one_uid_fails_with_the_reason_of_a_duplicate(web: Web) -> None:
    first, other, second = file("one").data, file("one", note="other").data, file("two").data
    assert reasons(web.store(first, other)) == [0x0111]
    answer = web.store(other, second)
    assert (answer.status_code, reasons(answer)) == (202, [0x0111])
    assert stored(answer) == [uids(second)[2]]
    assert web.store(other).status_code == 409


def test_a_part_that_is_no_dicom_fails_and_the_others_are_stored(web: Web) -> None:
    answer = web.store(b"not DICOM at all", file("one").data)
    assert (answer.status_code, reasons(answer, OTHERS)) == (202, [0xC000])
    assert len(stored(answer)) == 1


def test_a_file_whose_pixels_are_cut_off_is_not_stored(web: Web) -> None:
    answer = web.store(file("whole").data, file("cut").data[:-10])
    assert (answer.status_code, [one[REASON]["Value"] for one in answer.json()[FAILED]["Value"]]) == (202, [[0xC000]])
    assert len(web.find("/instances")) == 1


def test_a_part_of_another_study_than_the_path_fails(web: Web) -> None:
    one = file("one")
    other = web.store(one.data, path="/studies/1.2.3")
    assert (other.status_code, reasons(other)) == (409, [0xA900])
    assert web.store(one.data, path=f"/studies/{one.entry.study_instance_uid}").status_code == 200
    assert web.store(one.data, path="/studies/..%2F..%2Fetc").status_code == 404


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_uid_with_a_path_in_it_is_stored_nowhere(web: Web, keyword: str) -> None:
    dataset = pydicom.dcmread(io.BytesIO(file("one").data))
    with pydicom.config.disable_value_validation():
        setattr(dataset, keyword, "../../../etc/passwd")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        data = encoded(dataset)
    answer = web.store(data)
    assert (answer.status_code, reasons(answer, OTHERS)) == (409, [0xC000])
    assert web.find() == []


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ('multipart/related; type="application/dicom+json"; boundary=b', (415, "unsupported-media-type")),
        ('multipart/related; type="application/dicom+xml"; boundary=b', (415, "unsupported-media-type")),
        ("application/dicom", (415, "unsupported-media-type")),
        ("application/dicom+json", (415, "unsupported-media-type")),
        ('multipart/related; type="application/dicom"', (400, "broken-body")),
    ],
)
def test_a_body_of_another_type_is_refused(web: Web, content_type: str, expected: tuple[int, str]) -> None:
    assert problem(web.post(b"[]", content_type)) == expected


def test_a_part_that_states_another_type_is_not_stored(web: Web) -> None:
    answer = web.post(body([file("one").data], "image/jpeg"))
    assert (answer.status_code, reasons(answer, OTHERS)) == (409, [0xC000])


def test_a_request_that_is_broken_off_leaves_nothing(web: Web) -> None:
    whole = body([one.data for one in files(3)])
    assert problem(web.post(whole[: len(whole) * 2 // 3])) == (400, "broken-body")
    assert web.find() == []
    assert incoming(web) == []


def test_more_parts_than_the_limit_are_refused_by_its_name(tmp_path: Path) -> None:
    web = Web(application(tmp_path, max_parts=20))
    answer = web.post(body([b"x"] * 100_000))
    assert problem(answer) == (413, "limit-exceeded")
    assert answer.json()["limit"] == "max_parts"
    assert incoming(web) == []


def test_a_full_store_keeps_nothing(tmp_path: Path) -> None:
    web = Web(application(tmp_path, store_max_bytes=1000))
    assert problem(web.store(file("one").data)) == (507, "storage-full")
    assert web.find() == []
    assert incoming(web) == []


@pytest.mark.parametrize("length", [70, 73, 128])
def test_boundaries_longer_than_the_standard_allows_are_read(web: Web, length: int) -> None:
    boundary = "b" * length
    answer = web.post(body([file("one").data], boundary=boundary), f"{PARTS}; boundary={boundary}")
    assert answer.status_code == 200


def test_the_answer_is_in_xml_where_that_is_preferred(web: Web) -> None:
    answer = web.post(body([sample("CT_small.dcm")]), accept="application/dicom+xml, application/dicom+json;q=0.5")
    assert answer.headers["Content-Type"] == "application/dicom+xml"
    assert b'keyword="ReferencedSOPSequence"' in answer.content


def test_two_callers_of_one_study_see_and_remove_their_own(tmp_path: Path) -> None:
    webs = callers(tmp_path, Caller("one", WRITER), Caller("other", WRITER))
    mine, theirs = file("mine", modality="CT").data, file("theirs", note="secret", modality="CT").data
    study = uids(mine)[0]
    assert [webs["one"].store(mine).status_code, webs["other"].store(theirs).status_code] == [200, 200]
    for name, data, foreign in (("one", mine, theirs), ("other", theirs, mine)):
        assert webs[name].find()[0]["00201208"]["Value"] == [1]
        assert [one[SOP_INSTANCE]["Value"][0] for one in webs[name].find("/instances")] == [uids(data)[2]]
        assert webs[name].get(place(foreign)).status_code == 404
    assert webs["one"].delete(f"/studies/{study}").status_code == 204
    assert webs["one"].get(f"/studies/{study}").status_code == 404
    assert webs["other"].get(f"/studies/{study}").status_code == 200


def test_a_key_that_reads_another_sees_both_and_removes_its_own(tmp_path: Path) -> None:
    viewer = Caller("viewer", WRITER, reads=("pacs",))
    webs = callers(tmp_path, Caller("pacs", WRITER), viewer)
    shared, own = file("shared").data, file("own").data
    webs["pacs"].store(shared)
    webs["viewer"].store(own)
    (study,) = webs["viewer"].find()
    assert study["00201208"]["Value"] == [2]
    assert len(webs["viewer"].find("/instances")) == 2
    assert webs["viewer"].get(place(shared)).status_code == 200
    assert webs["pacs"].get(place(own)).status_code == 404
    webs["viewer"].delete(f"/studies/{uids(own)[0]}")
    assert webs["pacs"].find()[0]["00201208"]["Value"] == [1]
    assert webs["viewer"].find()[0]["00201208"]["Value"] == [1]


def test_each_verb_needs_its_role(tmp_path: Path) -> None:
    webs = callers(tmp_path, *(Caller(role, frozenset({role})) for role in ("read", "write", "delete", "infer")))
    data = file("one").data
    allowed = {
        name: (
            web.store(data).status_code,
            web.get("/studies").status_code,
            web.get(place(data)).status_code,
            web.delete(f"/studies/{uids(data)[0]}").status_code,
        )
        for name, web in webs.items()
    }
    assert allowed == {
        "read": (403, 204, 404, 403),
        "write": (200, 403, 403, 403),
        "delete": (403, 403, 403, 404),
        "infer": (403, 403, 403, 403),
    }


def test_a_password_is_accepted_for_its_own_user_and_below_dicomweb_alone(tmp_path: Path) -> None:
    webs = callers(tmp_path, Caller("one", WRITER), Caller("other", WRITER))
    one = webs["one"].session
    assert one.get("http://gateway.local/dicomweb/studies").status_code == 204
    assert one.get("http://gateway.local/studies").status_code == 401
    one.auth = ("other", one.auth[1])
    answer = one.get("http://gateway.local/dicomweb/studies")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")  # a browser remembers no password
    for broken in ("Basic", "Basic !!!", "Basic b25l", "Basic Og=="):
        assert one.get("http://gateway.local/dicomweb/studies", auth=_header(broken)).status_code == 401


def _header(text: str):
    def add(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = text
        return request

    return add


@pytest.mark.slow
def test_a_hundred_thousand_parts_are_judged_one_by_one_and_leave_nothing(tmp_path: Path) -> None:
    web, count = Web(application(tmp_path, max_parts=100_001)), 100_000
    answer = web.post(body([file("one").data, *[b"no DICOM"] * count]))
    assert (answer.status_code, len(stored(answer)), len(reasons(answer, OTHERS))) == (202, 1, count)
    assert incoming(web) == []
    assert [len(web.find(level)) for level in ("/studies", "/instances")] == [1, 1]
