"""The stored answer of a run in the forms of a model's route, without a second run."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from pydicom import dcmread
from werkzeug.test import TestResponse

from gateway import Gateway, LabelMask, Settings, Volume
from gateway.testing import phantom_study
from tests.waiting import eventually

CALLS: list[int] = []


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    app = Gateway("forms", settings=Settings(store_folder=tmp_path_factory.mktemp("store")))

    @app.model("/bone", version="1")
    def bone(volume: Volume, threshold: float = 300) -> LabelMask:
        CALLS.append(1)
        return LabelMask((volume.array > threshold).astype(np.uint8), {1: "bone"})

    return app.test_client()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return phantom_study(tmp_path_factory.mktemp("study"), slices=4, size=64)


def form(study: list[Path]) -> dict[str, object]:
    return {"threshold": "200", "file": [(io.BytesIO(path.read_bytes()), path.name) for path in study]}


@pytest.fixture(scope="module")
def run(client: FlaskClient, study: list[Path]) -> str:
    return finished(client, "", study)


def finished(client: FlaskClient, accept: str, study: list[Path]) -> str:
    path: str = client.post("/runs?route=/bone", data=form(study), headers={"Accept": accept}).headers["Location"]
    eventually(lambda: client.get(f"{path}?wait=10").get_json()["ended"])
    assert client.get(path).get_json()["state"] == "finished"
    return path


def stored(client: FlaskClient, run: str, accept: str) -> TestResponse:
    response = client.get(f"{run}/result", headers={"Accept": accept})
    assert response.mimetype == accept.partition(";")[0]
    assert "Accept" in response.headers["Vary"]
    return response


@pytest.mark.parametrize(
    "accept", ["application/json", "application/json; masks=rle", "image/png", "application/x-nifti"]
)
def test_a_form_is_that_of_the_route(client: FlaskClient, study: list[Path], run: str, accept: str) -> None:
    direct = client.post("/bone", data=form(study), headers={"Accept": accept})
    calls = len(CALLS)
    again = stored(client, run, accept)
    assert len(CALLS) == calls
    assert again.get_data() == direct.get_data()
    assert again.headers["X-Hashes"] == direct.headers["X-Hashes"]
    assert again.headers["X-Model"] == "bone"


def test_an_archive_has_the_files_of_the_answer(client: FlaskClient, run: str) -> None:
    for accept, suffix in (("application/zip", ".npy"), ("application/zip; masks=nifti", ".nii.gz")):
        archive = zipfile.ZipFile(io.BytesIO(stored(client, run, accept).get_data()))
        assert any(name.endswith(suffix) for name in archive.namelist())
        assert json.loads(archive.read("response.json"))["protocol_version"] == "1.0"


def test_a_picture_is_drawn_on_the_images_of_the_run(client: FlaskClient, run: str) -> None:
    picture = Image.open(io.BytesIO(stored(client, run, "image/png").get_data()))
    assert min(picture.size) > 64


def test_a_run_of_dicom_objects_has_its_object(client: FlaskClient, study: list[Path]) -> None:
    run = finished(client, "application/dicom", study)
    header = dcmread(io.BytesIO(stored(client, run, "application/dicom").get_data()))
    assert header.Modality == "SEG"


def test_a_form_without_images_takes_no_place_of_a_busy_worker(
    client: FlaskClient, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = client.application
    assert isinstance(app, Gateway)
    monkeypatch.setattr(app.service.admission, "max_requests", 0)
    for accept in ("application/json", "application/zip"):
        stored(client, run, accept)
    assert client.get(f"{run}/result", headers={"Accept": "image/png"}).status_code == 503


def test_parts_are_sent_where_they_are_accepted_as_much(client: FlaskClient, run: str) -> None:
    for accept in ("", "*/*", "multipart/related"):
        response = client.get(f"{run}/result", headers={"Accept": accept})
        assert response.mimetype == "multipart/related"


def test_objects_of_a_run_of_masks_are_those_of_the_route(client: FlaskClient, study: list[Path], run: str) -> None:
    """But for codes, which JSON has none of, and the time of receipt."""
    calls = len(CALLS)
    made = stored(client, run, "application/dicom")
    assert len(CALLS) == calls
    again = stored(client, run, "application/dicom")
    direct = client.post("/bone", data=form(study), headers={"Accept": "application/dicom"})
    ours, own = dcmread(io.BytesIO(made.get_data())), dcmread(io.BytesIO(direct.get_data()))
    assert again.get_data() == made.get_data()
    assert ours.PixelData == own.PixelData
    assert ours.SOPInstanceUID == own.SOPInstanceUID
    assert ours.SeriesInstanceUID == own.SeriesInstanceUID
    assert ours.StudyInstanceUID == own.StudyInstanceUID
    assert made.headers["X-Hashes"].partition(":")[0] == direct.headers["X-Hashes"].partition(":")[0]


def test_output_asks_for_objects_in_each_form(client: FlaskClient, run: str) -> None:
    packed = client.get(f"{run}/result?output=dicom", headers={"Accept": "application/zip"})
    assert zipfile.ZipFile(io.BytesIO(packed.get_data())).namelist() == ["response.json", "seg_0.dcm"]
    parts = client.get(f"{run}/result?output=dicom")
    assert parts.mimetype == "multipart/related"
    assert b"Content-Type: application/dicom" in parts.get_data()
    none = client.get(f"{run}/result?output=json", headers={"Accept": "application/dicom"})
    assert none.mimetype == "multipart/related"
    assert b"Content-Type: application/dicom" not in none.get_data()
    assert client.get(f"{run}/result?output=seg").status_code == 422


def test_what_no_form_is_is_refused(client: FlaskClient, run: str) -> None:
    assert client.get(f"{run}/result", headers={"Accept": "text/html"}).status_code == 406
