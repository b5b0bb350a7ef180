"""``python -m models`` serves one model on ``/``, and ``models.app`` serves all, each on its route."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
import requests
from requests_toolbelt import MultipartDecoder

from tests.conftest import ROOT, Serve, Server
from tests.waiting import PATIENCE

CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
CAPTURE = "-sc"
FLAGS = {
    "-s3D": "probability_mask",
    "--segmentation_model_2D": "heatmap",
    "-b": "bounding_boxes_2d",
    "-cl": "study_ml_json",
    CAPTURE: "dicom_secondary_capture",
}


def ask(url: str) -> MultipartDecoder:
    body = b"--b\r\n\r\n{}\r\n--b\r\n\r\n%s\r\n--b--\r\n" % CT.read_bytes()
    headers = {"Content-Type": "multipart/related; boundary=b"}
    response = requests.post(url, data=body, headers=headers, timeout=PATIENCE)
    assert response.status_code == 200, response.text
    return MultipartDecoder.from_response(response)


@pytest.fixture(
    scope="module",
    params=[each if each == CAPTURE else pytest.param(each, marks=pytest.mark.slow) for each in FLAGS],
)
def flag(request: pytest.FixtureRequest) -> str:
    """One flag in ``make test``, each in the slow tier."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(flag: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    words = [sys.executable, "-m", "models", flag, "--port", "0"]
    server = Server(words, tmp_path_factory.mktemp("models"), {})
    yield server
    server.stop()


def test_each_flag_serves_its_model_on_the_root(flag: str, server: Server) -> None:
    assert FLAGS[flag] in ask(server.url + "/").parts[0].text
    assert requests.get(server.url + "/healthcheck", timeout=PATIENCE).text == "READY"


@pytest.mark.parametrize("flag", [CAPTURE], scope="module", indirect=True)
def test_a_served_secondary_capture_is_read_back_as_part_of_its_study(server: Server) -> None:
    part = ask(server.url + "/").parts[1]
    made, source = pydicom.dcmread(io.BytesIO(part.content)), pydicom.dcmread(CT)
    assert part.headers[b"Content-Type"] == b"application/dicom"
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.pixel_array.shape == (128, 128, 3)


@pytest.mark.parametrize("words", [[], ["-b", "-cl"], ["--nonsense"]])
@pytest.mark.slow
def test_anything_but_one_model_is_wrong_usage(words: list[str]) -> None:
    ran = subprocess.run([sys.executable, "-m", "models", *words], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "usage: python -m models" in ran.stderr


def test_all_models_are_served_by_one_service_and_the_root_is_the_volume(serve: Serve) -> None:
    from models.app import MODELS

    server = serve("models.app:app")
    answers = {route: ask(server.url + route).parts[0].text for route in MODELS}
    assert answers["/"] == answers["/segmentation-3d"]
    assert len(set(answers.values())) == 5


def test_the_models_are_served_without_the_extra_of_stores() -> None:
    """A gateway without a store opens, with all routes of its models, where SQLAlchemy is not installed."""
    lines = (
        "import sys",
        "sys.modules['sqlalchemy'] = None",
        "from models.app import app",
        "app.open()",
        "print(any(rule.rule == '/sessions' for rule in app.url_map.iter_rules()))",
        "app.close()",
    )
    ended = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=ROOT)
    assert (ended.returncode, ended.stdout) == (0, "True\n"), ended.stderr
