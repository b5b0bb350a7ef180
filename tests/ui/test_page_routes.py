"""What the page below /ui is told and shown, in this process: its files, models, pictures and stored studies."""

import io
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from pydicom import Dataset, dcmread
from werkzeug.test import TestResponse

from gateway import Gateway, LabelMask, Requires, Settings, Volume
from gateway.access import listeners
from gateway.dicom.web.shown_images import smallest
from gateway.testing import phantom_study

NAME = "Doe^Jane"


def application(**settings: Any) -> Gateway:
    app = Gateway("page", settings=Settings(ui="on", **settings))

    @app.model("/bone", version="3.1")
    def bone(volume: Volume, threshold: float = 300) -> LabelMask:
        """Find the bone.

        By its density.
        """
        return LabelMask((volume.array > threshold).astype(np.uint8), {1: "bone"})

    return app


@pytest.fixture
def client() -> FlaskClient:
    return application().test_client()


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    return phantom_study(tmp_path / "study", slices=3, size=32)


def picture(response: TestResponse) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """Read a picture as docs/ui.md says."""
    data = response.get_data()
    size = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + size])
    start = -(-(4 + size) // 8) * 8
    values = np.frombuffer(data, np.dtype(header["dtype"]).newbyteorder("<"), offset=start)
    return header, values.reshape(header["shape"])


def shown(client: FlaskClient, data: bytes, query: str = "", media_type: str = "application/dicom") -> TestResponse:
    return client.post(f"/ui/pictures{query}", data=data, content_type=media_type)


def changed(path: Path, **attributes: Any) -> bytes:
    header = dcmread(path)
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    file = io.BytesIO()
    header.save_as(file)
    return file.getvalue()


def test_the_page_and_its_files_are_served_under_a_strict_policy(client: FlaskClient) -> None:
    assert client.get("/ui").headers["Location"].endswith("ui/")
    for path in ("/ui/", "/ui/app.js", "/ui/app.css"):
        response = client.get(path, headers={"Accept-Encoding": "gzip"})
        assert response.status_code == 200
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        again = client.get(path, headers={"If-None-Match": response.headers["ETag"], "Accept-Encoding": "gzip"})
        assert again.status_code == 304
    assert client.get("/ui/app.js").mimetype == "text/javascript"


def test_the_first_page_of_the_gateway_links_to_it(client: FlaskClient) -> None:
    index = client.get("/", headers={"Accept": "text/html"})
    assert 'href="ui/"' in index.get_data(as_text=True)


@pytest.mark.parametrize("name", ["../index.html", "..%2findex.html", "none.js", "ui/app.js", "%00"])
def test_no_other_file_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/ui/{name}").status_code == 404


@pytest.mark.parametrize("ui", ["off", "loopback"])
def test_the_page_is_absent_where_it_is_off_and_where_no_server_listens_on_loopback(ui: str) -> None:
    listeners.announce([])
    client = Gateway("page", settings=Settings(ui=ui)).test_client()
    assert client.get("/ui/").status_code == 404


def test_the_page_is_on_where_only_this_machine_reaches_the_server() -> None:
    listeners.announce([("127.0.0.1", 8900)])
    assert Gateway("page", settings=Settings()).test_client().get("/ui/").status_code == 200


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="loopback, on or off"):
        Gateway("page", settings=Settings(ui="yes")).open()


def test_models_are_cards_with_their_parameters(client: FlaskClient) -> None:
    (card,) = client.get("/ui/models").get_json()
    assert card["route"] == "/bone"
    assert card["version"] == "3.1"
    assert (card["summary"], card["description"]) == ("Find the bone.", "By its density.")
    assert card["inputs"] == [{"name": "volume", "kind": "Volume", "many": False, "optional": False}]
    assert card["outputs"] == ["LabelMask"]
    assert card["parameters"]["properties"]["threshold"]["default"] == 300


def test_the_configuration_says_what_the_gateway_has(client: FlaskClient, tmp_path: Path) -> None:
    plain = client.get("/ui/config").get_json()
    assert not plain["authentication"]
    assert (plain["store"], plain["runs"], plain["ohif"]) == (False, False, None)
    other = application(store_folder=tmp_path / "store", ohif_url="http://127.0.0.1:3000").test_client()
    stored = other.get("/ui/config").get_json()
    assert (stored["store"], stored["runs"], stored["ohif"]) == (True, True, "http://127.0.0.1:3000")


def test_a_file_is_shown_with_its_geometry_and_without_its_patient(client: FlaskClient, study: list[Path]) -> None:
    data = changed(study[0], PatientName=NAME, WindowCenter=[40, 300], WindowWidth=[80, 1500])
    response = shown(client, data)
    header, values = picture(response)
    stored = dcmread(io.BytesIO(data))
    np.testing.assert_array_equal(values[0], stored.pixel_array * stored.RescaleSlope + stored.RescaleIntercept)
    assert header["dtype"] == "int16"
    assert header["units"] == "HU"
    assert header["position"] == [float(each) for each in stored.ImagePositionPatient]
    assert header["spacing"] == [float(each) for each in stored.PixelSpacing]
    assert [(one["center"], one["width"]) for one in header["windows"]] == [(40, 80), (300, 1500)]
    assert header["digest"] == sha256(data).hexdigest()
    assert NAME.encode() not in response.get_data()
    assert picture(shown(client, data, "?patient=1"))[0]["patient"]["name"] == NAME


@pytest.mark.parametrize("spacing", [[0, 1], [-1, 1]])
def test_a_spacing_that_is_not_above_0_counts_as_none(
    client: FlaskClient, study: list[Path], spacing: list[float]
) -> None:
    header, _ = picture(shown(client, changed(study[0], PixelSpacing=spacing)))
    assert header["spacing"] is None


def test_an_inverted_image_is_shown_as_it_is_stored_and_says_so(client: FlaskClient, study: list[Path]) -> None:
    plain, _ = picture(shown(client, study[0].read_bytes()))
    inverted, _ = picture(shown(client, changed(study[0], PhotometricInterpretation="MONOCHROME1")))
    assert (plain["inverted"], inverted["inverted"]) == (False, True)


def test_colour_is_shown_as_three_bytes_a_pixel(client: FlaskClient, study: list[Path]) -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    data = changed(
        study[0],
        **{"Rows": 4, "Columns": 5, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0},
        **{"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "PixelData": pixels.tobytes()},
    )
    header, values = picture(shown(client, data))
    assert header["dtype"] == "uint8"
    np.testing.assert_array_equal(values[0], pixels)


@pytest.mark.parametrize(
    ("attributes", "spacing", "place"),
    [
        ({"PixelSpacing": [2, 3]}, [2, 3], "patient"),
        ({"Modality": "DX", "PixelSpacing": None, "ImagerPixelSpacing": [2, 3]}, [2, 3], "detector"),
        ({"Modality": "DX", "PixelSpacing": [2, 3], "ImagerPixelSpacing": [2, 3]}, [2, 3], "detector"),
        ({"Modality": "DX", "PixelSpacing": [1, 1], "ImagerPixelSpacing": [2, 3]}, [1, 1], "calibrated"),
        ({"Modality": "CR", "PixelSpacing": [2, 3], "PixelSpacingCalibrationType": "FIDUCIAL"}, [2, 3], "calibrated"),
        ({"Modality": "CR", "PixelSpacing": [2, 3]}, [2, 3], "unknown"),
        ({"Modality": "US", "PixelSpacing": None, "SequenceOfUltrasoundRegions": [(0.2, 0.3, 3)]}, [2, 3], "patient"),
        ({"Modality": "US", "PixelSpacing": None, "SequenceOfUltrasoundRegions": [(0.2, 0.3, 4)]}, None, "patient"),
        ({"Modality": "US", "PixelSpacing": None, "SequenceOfUltrasoundRegions": [(1, 1, 3)] * 2}, None, "patient"),
    ],
)
def test_a_picture_says_where_its_millimetres_hold(
    client: FlaskClient, study: list[Path], attributes: dict[str, Any], spacing: list[float] | None, place: str
) -> None:
    regions = [region(*words) for words in attributes.get("SequenceOfUltrasoundRegions", [])]
    words = attributes | ({"SequenceOfUltrasoundRegions": regions} if regions else {})
    header, _ = picture(shown(client, changed(study[0], **words)))
    assert (header["spacing"], header["spacing_at"]) == (spacing, place)


def region(down: float, right: float, unit: int) -> Dataset:
    one = Dataset()
    one.RegionSpatialFormat, one.RegionDataType = 1, 1
    one.PhysicalUnitsXDirection = one.PhysicalUnitsYDirection = unit
    one.PhysicalDeltaX, one.PhysicalDeltaY = right, down
    return one


def test_each_frame_of_several_has_its_place(client: FlaskClient) -> None:
    from pydicom.data import get_testdata_file

    path = get_testdata_file("eCT_Supplemental.dcm", download=False)
    header, values = picture(shown(client, Path(str(path)).read_bytes()))
    assert len(values) == len(header["frames"]) == 2
    assert header["frames"][0]["position"] != header["frames"][1]["position"]


def test_values_take_the_smallest_type_that_holds_them_exactly() -> None:
    for values, name in (([-5, 3], "int16"), ([0, 60_000], "uint16"), ([0.5], "float32"), ([-1, 60_000], "float32")):
        assert smallest(np.array(values, np.float32)).dtype.name == name
    assert smallest(np.array([np.nan, 1], np.float32)).dtype.name == "float32"


def test_what_cannot_be_shown_is_refused_in_words(client: FlaskClient, study: list[Path]) -> None:
    data = study[0].read_bytes()
    report = dcmread(study[0])
    del report.PixelData, report.Rows, report.Columns
    file = io.BytesIO()
    report.save_as(file)
    for body, word in ((b"GIF89a", "DICOM"), (data[:-100], "pixels"), (file.getvalue(), "no image")):
        response = shown(client, body)
        assert 400 <= response.status_code < 500
        assert word in response.get_json()["detail"]
    assert shown(client, data, media_type="text/plain").status_code == 415


def test_a_model_refuses_in_words_before_the_study_is_sent_also_without_a_store(
    study: list[Path],
) -> None:
    app = application()

    @app.model("/brain", requires=Requires(modality="MR"))
    def brain(volume: Volume) -> LabelMask:
        return LabelMask(np.zeros(volume.shape, np.uint8), {1: "brain"})

    client = app.test_client()
    form = {"file": [(io.BytesIO(path.read_bytes()), path.name) for path in study[:1]]}
    response = client.post("/preflight", data=form)
    assert response.status_code == 200
    bone, brain_ = response.get_json()["models"]
    assert bone["accepted"]
    assert not brain_["accepted"]
    assert "MR" in brain_["reasons"][0]
    named = client.post("/preflight", json={"study": "1.2.3"})
    assert named.status_code == 415


def store(client: FlaskClient, files: list[bytes]) -> list[dict[str, Any]]:
    """Store files, and return their entries of a manifest."""
    entries = [
        {
            "study_instance_uid": header.StudyInstanceUID,
            "series_instance_uid": header.SeriesInstanceUID,
            "sop_instance_uid": header.SOPInstanceUID,
            "sha256": sha256(data).hexdigest(),
            "size": len(data),
        }
        for data in files
        for header in [dcmread(io.BytesIO(data), stop_before_pixels=True)]
    ]
    parts = [json.dumps({"instances": entries}).encode(), *files]
    body = b"".join(b"--b\r\n\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    sent = client.post("/studies/instances", data=body, content_type="multipart/related; boundary=b")
    assert sent.status_code == 200, sent.get_json()
    return entries


def test_stored_studies_are_listed_and_shown(tmp_path: Path, study: list[Path]) -> None:
    audit = tmp_path / "audit.jsonl"
    client = application(store_folder=tmp_path / "store", audit_file=audit).test_client()
    entries = store(client, [path.read_bytes() for path in study])
    (listed,) = client.get("/ui/studies").get_json()["studies"]
    assert (listed["instances"], listed["modalities"], listed["runs"]) == (3, ["CT"], 0)
    uid = listed["study_instance_uid"]
    whole = client.get(f"/ui/studies/{uid}").get_json()
    (series,) = whole["series"]
    assert series["modality"] == "CT"
    assert {one["sha256"] for one in series["instances"]} == {entry["sha256"] for entry in entries}
    assert whole["runs"] == whole["results"] == whole["deliveries"] == []
    first = entries[0]
    path = f"/ui/studies/{uid}/series/{first['series_instance_uid']}/instances/{first['sop_instance_uid']}/picture"
    header, values = picture(client.get(path))
    assert header["sop_instance_uid"] == first["sop_instance_uid"]
    np.testing.assert_array_equal(values, picture(shown(client, study[0].read_bytes()))[1])
    records = [json.loads(line) for line in audit.read_text().splitlines()]
    read = [(one["kind"], one.get("instances", one.get("matches"))) for one in records if "kind" in one]
    assert read == [("ui-studies", 1), ("ui-study", 3), ("ui-picture", 1)]
    assert uid not in audit.read_text()
    assert client.get(path.replace(uid, "1.2.3")).status_code == 404
    assert client.get("/ui/studies/1.2.3").status_code == 404
    run = client.post("/runs?route=/bone", json={"study": uid})
    assert run.status_code == 201
    assert [one["id"] for one in client.get(f"/ui/studies/{uid}").get_json()["runs"]] == [run.get_json()["id"]]


PATIENTS = (
    ("Doe^Jane", "P-1", "20260103", "CT", "CT Head w/o contrast", "A100"),
    ("Doe^John", "P-2", "20260204", "MR", "Knee", "A101"),
    ("Ågren^Ida", "Q-3", "20260305", "CT", "chest", "B200"),
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[FlaskClient, Path]:
    """A gateway with DICOMweb that has a study of each patient, and its audit."""
    folder = tmp_path_factory.mktemp("searched")
    audit = folder / "audit.jsonl"
    client = application(store_folder=folder / "store", audit_file=audit, dicomweb=True).test_client()
    (path,) = phantom_study(folder / "study", slices=1, size=32)
    for number, (name, id, date, modality, description, accession) in enumerate(PATIENTS):
        uid = f"1.2.840.{number}"
        words = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.1.1"}
        words |= {"PatientName": name, "PatientID": id, "StudyDate": date, "Modality": modality}
        store(client, [changed(path, **words, StudyDescription=description, AccessionNumber=accession)])
    return client, audit


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [2, 1, 0]),
        ({"PatientName": "doe"}, [1, 0]),
        ({"PatientName": "doe, JA"}, [0]),
        ({"PatientName": "*ida"}, [2]),
        ({"PatientName": "jane"}, []),
        ({"PatientID": "P-"}, [1, 0]),
        ({"StudyDate": "20260201-"}, [2, 1]),
        ({"StudyDate": "20260103"}, [0]),
        ({"StudyDate": "-20260204", "ModalitiesInStudy": "MR,US"}, [1]),
        ({"ModalitiesInStudy": "CT"}, [2, 0]),
        ({"StudyDescription": "HEAD"}, [0]),
        ({"StudyDescription": "CHEST"}, [2]),
        ({"StudyDescription": "%"}, []),
        ({"AccessionNumber": "A1", "PatientName": "doe"}, [1, 0]),
    ],
)
def test_stored_studies_are_found_by_what_a_person_types(
    searched: tuple[FlaskClient, Path], query: dict[str, str], found: list[int]
) -> None:
    client, audit = searched
    words = client.get("/ui/studies", query_string=query).get_json()
    assert [one["study_instance_uid"] for one in words["studies"]] == [f"1.2.840.{number}" for number in found]
    assert words["next"] is None
    assert not any("patient" in one for one in words["studies"])
    record = json.loads(audit.read_text().splitlines()[-1])
    assert (record["kind"], record["matches"]) == ("ui-studies", len(found))
    assert not any(value and value in audit.read_text() for value in query.values() if value.isalpha())


def test_a_search_has_pages_and_names_patients_on_request(searched: tuple[FlaskClient, Path]) -> None:
    client, _ = searched
    first = client.get("/ui/studies?limit=2&patient=1").get_json()
    assert [one["patient"] for one in first["studies"]] == [
        {"name": "Ågren^Ida", "id": "Q-3"},
        {"name": "Doe^John", "id": "P-2"},
    ]
    (last,) = client.get(f"/ui/studies?limit=2&after={first['next']}").get_json()["studies"]
    assert (last["date"], last["modalities"], last["series"], last["instances"]) == ("20260103", ["CT"], 1, 1)


@pytest.mark.parametrize(
    "query", ["after=x", "after=-1", "after=99999999999", "StudyDate=today", f"PatientID={'9' * 300}", "limit=0"]
)
def test_a_search_that_is_none_is_refused_in_words(searched: tuple[FlaskClient, Path], query: str) -> None:
    response = searched[0].get(f"/ui/studies?{query}")
    assert response.status_code in (400, 422)
    assert response.get_json()["detail"]


def test_a_run_that_failed_says_why_and_states_its_request_again(tmp_path: Path, study: list[Path]) -> None:
    app = application(store_folder=tmp_path / "store")
    client = app.test_client()
    uid = store(client, [path.read_bytes() for path in study[:1]])[0]["study_instance_uid"]
    body = {"study": uid, "threshold": "much"}
    run = client.post("/runs?route=/bone", json=body).get_json()
    app.extensions["gateway.runs"].wait("", run["id"], 60)
    (listed,) = client.get(f"/ui/studies/{uid}").get_json()["runs"]
    assert listed["state"] == "refused"
    assert "threshold" in json.dumps(listed["problem"])
    assert client.get(f"/ui/runs/{run['id']}/request").get_json() == body
    assert client.get("/ui/runs/none/request").status_code == 404
    sent = {"file": (io.BytesIO(study[0].read_bytes()), "one.dcm")}
    with_files = client.post("/runs?route=/bone", data=sent).get_json()
    assert client.get(f"/ui/runs/{with_files['id']}/request").status_code == 404
