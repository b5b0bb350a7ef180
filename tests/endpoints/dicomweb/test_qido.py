"""QIDO-RS: what each kind of value matches, what is returned, and what is refused."""

import io
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.dicom.studies import uid
from tests.endpoints.dicomweb.web import ROOT, Web, application, encoded, sample
from tests.studies.files import file

PATIENTS = {
    "Doe^Jane": {"PatientID": "A1", "StudyDate": "20240101", "StudyTime": "101500", "AccessionNumber": "X-1"},
    "DOE^John^^^": {"PatientID": "A2", "StudyDate": "20240315", "StudyTime": "235959.5", "AccessionNumber": "X[2]"},
    "Müller^Ulrike": {"PatientID": "b_1", "StudyDate": "20240331", "StudyTime": "", "AccessionNumber": "X%3"},
    "Yamada^Tarou=山田^太郎=やまだ^たろう": {"PatientID": "b11", "StudyDate": "", "StudyTime": "08"},
}


def study(name: str, number: int = 0, **attributes: Any) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(file(number, study=name, series=number).data))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = name
    dataset.ReferringPhysicianName, dataset.StudyID, dataset.SeriesNumber = "House^Gregory", "S", number
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return encoded(dataset)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Web:
    made = Web(application(Path(tmp_path_factory.mktemp("qido"))))
    sent = [study(name, **attributes) for name, attributes in PATIENTS.items()]
    request = pydicom.Dataset()
    request.ScheduledProcedureStepID, request.RequestedProcedureID = "STEP7", "REQ7"
    second = study("Doe^Jane", 7, Modality="SR", RequestAttributesSequence=[request], **PATIENTS["Doe^Jane"])
    assert made.store(*sent, second).status_code == 200
    return made


def names(matches: list[dict[str, Any]]) -> list[str]:
    return sorted(match["00100010"]["Value"][0]["Alphabetic"].partition("^")[2].strip("^") for match in matches)


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientName", "doe^jane", ["Jane"]),
        ("PatientName", "Doe^John", ["John"]),
        ("PatientName", "doe*", ["Jane", "John"]),
        ("PatientName", "*j?ne", ["Jane"]),
        ("PatientName", "mü*", ["Ulrike"]),
        ("PatientName", "mu\u0308*", ["Ulrike"]),
        ("PatientName", "山田*", ["Tarou"]),
        ("PatientName", "=山田^太郎", ["Tarou"]),
        ("PatientName", "doe", []),
        ("PatientName", "doe^jane^*^*", ["Jane"]),
        ("PatientName", "doe^j*^*", ["Jane", "John"]),
        ("PatientName", "=", ["Jane", "John", "Tarou", "Ulrike"]),
        ("PatientID", " ", ["Jane", "John", "Tarou", "Ulrike"]),
        ("00100010", "*", ["Jane", "John", "Tarou", "Ulrike"]),
        ("PatientID", "A1", ["Jane"]),
        ("PatientID", "a1", []),
        ("PatientID", "A?", ["Jane", "John"]),
        ("PatientID", "b_*", ["Ulrike"]),
        ("PatientID", "", ["Jane", "John", "Tarou", "Ulrike"]),
        ("AccessionNumber", "X[*", ["John"]),
        ("AccessionNumber", "X%*", ["Ulrike"]),
        ("StudyDate", "20240315", ["John"]),
        ("StudyDate", "20240201-20240331", ["John", "Ulrike"]),
        ("StudyDate", "-20240101", ["Jane"]),
        ("StudyDate", "20240316-", ["Ulrike"]),
        ("StudyTime", "10", ["Jane"]),
        ("StudyTime", "0800-1014", ["Tarou"]),
        ("StudyTime", "2359-", ["John"]),
        ("StudyTime", "-0900", ["Tarou"]),
        ("ModalitiesInStudy", "SR", ["Jane"]),
        ("ModalitiesInStudy", "SR,MR", ["Jane"]),
        ("ModalitiesInStudy", "CT", ["Jane", "John", "Tarou", "Ulrike"]),
        ("ReferringPhysicianName", "HOUSE*", ["Jane", "John", "Tarou", "Ulrike"]),
    ],
)
def test_a_value_of_a_study_matches(web: Web, keyword: str, value: str, expected: list[str]) -> None:
    assert names(web.find(**{keyword: value})) == expected


def test_a_list_of_uids_matches_any_of_them(web: Web) -> None:
    wanted = [uid("study", name) for name in PATIENTS]
    assert len(web.find(StudyInstanceUID=",".join(wanted[:2]))) == 2
    assert len(web.find(StudyInstanceUID="\\".join([*wanted[:1], "1.2.3"]))) == 1


@pytest.mark.parametrize(
    ("level", "parameters", "count"),
    [
        ("/series", {"Modality": "SR"}, 1),
        ("/series", {"PatientID": "A1"}, 2),
        ("/series", {"SeriesNumber": "07"}, 1),
        ("/series", {"RequestAttributesSequence.ScheduledProcedureStepID": "STEP?"}, 1),
        ("/series", {"00400275.00401001": "REQ7"}, 1),
        ("/series", {"00400275.00401001": "EQ7"}, 0),
        ("/instances", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, 5),
        ("/instances", {"PatientName": "doe*", "Modality": "CT"}, 2),
        ("/instances", {"InstanceNumber": "1", "StudyDate": "20240101"}, 2),
    ],
)
def test_series_and_instances_match_by_what_stands_above_them(
    web: Web, level: str, parameters: dict[str, str], count: int
) -> None:
    assert len(web.find(level, **parameters)) == count


def test_a_study_has_the_attributes_that_the_standard_requires(web: Web) -> None:
    (match,) = web.find(PatientID="A1")
    required = "00080005 00080020 00080030 00080050 00080056 00080061 00080090 00081190 00100010 00100020 0020000D"
    assert set(required.split()) <= match.keys()
    assert match["00080061"]["Value"] == ["CT", "SR"]
    assert [match[tag]["Value"] for tag in ("00201206", "00201208")] == [[2], [2]]
    assert match["00081190"]["Value"] == [f"http://gateway.local/dicomweb/studies/{uid('study', 'Doe^Jane')}"]


def test_a_level_of_a_path_returns_what_the_path_does_not_name(web: Web) -> None:
    path = f"/studies/{uid('study', 'Doe^Jane')}"
    series = web.find(f"{path}/series")
    assert [one["00201209"]["Value"] for one in series] == [[1], [1]]
    assert all("00100010" not in one for one in series)
    assert all("00100010" in one for one in web.find("/series", PatientID="A1"))
    (instance,) = web.find(f"{path}/series/{series[0]['0020000E']['Value'][0]}/instances")
    assert "00280010" in instance and "00080060" not in instance
    assert len(web.find(f"{path}/instances")) == 2


def test_pages_follow_each_other_without_a_gap(web: Web) -> None:
    pages = [web.find(limit="3", offset=str(start)) for start in (0, 3, 4)]
    assert [len(page) for page in pages] == [3, 1, 0]
    assert names(pages[0] + pages[1]) == ["Jane", "John", "Tarou", "Ulrike"]
    dates = [match.get("00080020", {}).get("Value", [""])[0] for match in pages[0] + pages[1]]
    assert dates == sorted(dates, reverse=True)


def test_no_match_is_answered_without_content(web: Web) -> None:
    answer = web.get("/studies", PatientID="nobody")
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("parameter", ["fuzzymatching", "emptyvaluematching", "multiplevaluematching"])
def test_a_way_of_matching_that_is_not_supported_is_left_out_with_a_warning(web: Web, parameter: str) -> None:
    answer = web.get("/studies", PatientName="doe*", **{parameter: "true"})
    assert f'299 gateway "The {parameter} parameter is not supported.' in answer.headers["Warning"]
    assert len(answer.json()) == 2
    assert "Warning" not in web.get("/studies", PatientName="doe*", **{parameter: "false"}).headers


def test_a_page_of_the_largest_size_says_that_more_follow(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.studies.query.query_parameters.MAX_PAGE", 2)
    monkeypatch.setattr("gateway.endpoints.dicomweb.qido.MAX_PAGE", 2)
    assert ["Warning" in web.get("/studies", **limit).headers for limit in ({}, {"limit": "9"}, {"limit": "1"})] == [
        True,
        True,
        False,
    ]


def test_a_query_has_a_bound_number_of_attributes(web: Web) -> None:
    answer = web.session.get(f"{ROOT}/studies?" + "&".join(["PatientID=A1"] * 64))
    assert len(answer.json()) == 1
    answer = web.session.get(f"{ROOT}/studies?" + "&".join(["PatientID=A1"] * 2_000))
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:gateway:problem:query-refused")


def test_fields_that_are_named_are_known(web: Web) -> None:
    assert len(web.find(includefield="all")) == 4
    assert len(web.find(includefield="StudyDescription,00080080")) == 4


@pytest.mark.parametrize(
    "parameters",
    [
        {"NoSuchAttribute": "1"},
        {"PatientSex": "F"},
        {"Modality": "CT"},
        {"StudyDate": "2024"},
        {"StudyDate": "20241340"},
        {"StudyDate": "-"},
        {"StudyTime": "25"},
        {"StudyInstanceUID": "../.."},
        {"PatientName": "a=b=c=d"},
        {"ModalitiesInStudy": ","},
        {"PatientName": "*a*b*c*d*e*"},
        {"PatientID": "x" * 257},
        {"limit": "-1"},
        {"offset": "one"},
        {"includefield": "nothing"},
    ],
    ids=str,
)
def test_a_query_that_cannot_be_answered_is_refused(web: Web, parameters: dict[str, str]) -> None:
    answer = web.get("/studies", **parameters)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:gateway:problem:query-refused")


def test_only_json_is_sent(web: Web) -> None:
    assert web.get("/studies", "application/json").headers["Content-Type"] == "application/json"
    assert web.get("/studies", "text/html, */*;q=0.1").headers["Content-Type"] == "application/dicom+json"
    assert web.get("/studies", 'multipart/related; type="application/dicom+xml"').status_code == 406


def test_values_in_other_character_sets_are_found_in_unicode(tmp_path: Path) -> None:
    made = Web(application(tmp_path))
    made.store(sample("chrH31.dcm"), sample("chrGerm.dcm"))
    assert len(made.find(PatientName="山田^太郎")) == 1
    assert len(made.find(PatientName="äneas*")) == 1


def test_values_that_are_not_of_their_attribute_match_no_range(tmp_path: Path) -> None:
    made = Web(application(tmp_path))
    with pydicom.config.disable_value_validation():
        made.store(study("Doe^Jane", StudyDate="unknown", StudyTime="24:00:00", StudyDescription="Head\\Neck"))
    assert made.find(StudyDate="19000101-") == made.find(StudyTime="0000-") == []
    made.store(study("Doe^John", 1, StudyDescription="Sch\u00e4del"))
    assert len(made.find(StudyDescription="Scha\u0308del")) == 1
    assert len(made.find(StudyDescription="head*".title())) == len(made.find(StudyDescription="Head\\Neck")) == 1


NFC, NFD = "Sch\u00e4del", "Scha\u0308del"


@pytest.mark.parametrize("stored", [NFC, NFD], ids=["NFC", "NFD"])
@pytest.mark.parametrize("typed", [NFC, NFD], ids=["NFC", "NFD"])
def test_a_text_is_found_however_its_accents_are_encoded(tmp_path: Path, stored: str, typed: str) -> None:
    made, request = Web(application(tmp_path)), pydicom.Dataset()
    request.RequestedProcedureID = stored
    sent = {"StudyDescription": stored, "PatientID": stored, "RequestAttributesSequence": [request]}
    assert made.store(study(f"{stored}^Jos\u0345e", **sent)).status_code == 200
    for keyword in ("StudyDescription", "PatientID"):
        assert len(made.find(**{keyword: typed})) == len(made.find(**{keyword: f"{typed[:5]}*"})) == 1
    assert len(made.find(PatientName=f"{typed.upper()}^jos\u0345E")) == len(made.find(PatientName=f"{typed}*")) == 1
    assert len(made.find("/series", **{"00400275.00401001": typed})) == 1
