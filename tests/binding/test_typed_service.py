"""Typed models under real gunicorn: a study in, a mask or DICOM out, health on the way, an orderly end."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
import requests
from requests_toolbelt import MultipartDecoder

from tests.binding.asking import SLICES, related, series
from tests.conftest import Serve, Server
from tests.waiting import PATIENCE, eventually

TYPE = "multipart/related; boundary=b"


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def server(serve: Serve, notes: Path) -> Iterator[Server]:
    yield serve("tests.apps.typed:app", NOTES=str(notes))


def post(server: Server, route: str, body: bytes, **headers: str) -> requests.Response:
    return requests.post(server.url + route, data=body, headers={"Content-Type": TYPE, **headers}, timeout=PATIENCE)


def test_health_turns_from_starting_to_ready(serve: Serve, notes: Path) -> None:
    hold = notes / "hold here"
    hold.touch()
    server = serve("tests.apps.typed:app", HOLD=str(hold))

    def word() -> str:
        return requests.get(server.url + "/healthcheck", timeout=PATIENCE).text

    assert [word() for _ in range(3)] == ["STARTING"] * 3
    hold.unlink()
    assert eventually(lambda: word() != "STARTING")
    assert word() == "READY"


@pytest.mark.parametrize("route", ["/dense", "/slow"])
def test_a_study_is_answered_with_a_mask(server: Server, route: str) -> None:
    parts = MultipartDecoder.from_response(post(server, route, related({}, series()))).parts
    entry = json.loads(parts[0].text)["parts"][0]
    assert entry["binary_data_shape"]["depth"] == SLICES
    expected = b"".join((one.pixel_array.astype("f4") - 1024 > 100).astype("u1").tobytes() for one in series())
    assert parts[1].content == expected


def test_a_study_is_answered_with_dicom_where_the_client_accepts_it(server: Server) -> None:
    response = post(server, "/dense", related({}, series()), Accept='multipart/related; type="application/dicom"')
    parts = MultipartDecoder.from_response(response).parts
    assert parts[1].headers[b"Content-Type"] == b"application/dicom"
    assert pydicom.dcmread(io.BytesIO(parts[1].content)).Modality == "SEG"


@pytest.mark.parametrize(
    ("route", "body", "code"),
    [
        ("/dense", related({"threshold": "9999"}, series()), "parameter-refused"),
        ("/slow", related({"threshold": 1}, series()), "parameter-refused"),
        ("/dense", related({}, series(Modality="MR")), "study-refused"),
        ("/dense", related({}), "study-refused"),
    ],
)
def test_a_refusal_is_a_422_problem_and_the_next_request_works(
    server: Server, route: str, body: bytes, code: str
) -> None:
    problem = post(server, route, body)
    assert problem.status_code == 422
    assert problem.headers["Content-Type"] == "application/problem+json"
    assert problem.json()["type"] == f"urn:gateway:problem:{code}"
    assert post(server, route, related({}, series())).status_code == 200


def test_a_model_is_closed_when_the_server_ends(serve: Serve, tmp_path: Path) -> None:
    server = serve("tests.apps.typed:app", NOTES=str(tmp_path))
    assert post(server, "/slow", related({}, series())).status_code == 200
    server.stop()
    assert (tmp_path / "closed").read_text() == "closed"
