"""Features that a service of the predecessor relies on: its error handler, its own routes, its logging, pydicom."""

import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.compat.client import decode, encode, post
from tests.compat.conftest import OLD_SERVICE, ROOT, Service, running
from tests.ports import free_port
from tests.waiting import PATIENCE


def test_its_error_handler_answers_for_an_exception_of_its_handler(service: Service, image: bytes) -> None:
    response = post(service.url + "/", {"fail": "unet-7"}, [image])
    assert (response.status_code, response.text) == (500, "internal server error")


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("DELETE", "/boxes")])
def test_its_error_handler_answers_for_a_path_or_method_that_is_not_there(
    service: Service, method: str, path: str
) -> None:
    response = requests.request(method, service.url + path, timeout=PATIENCE)
    assert (response.status_code, response.text) == (500, "internal server error")


def refusals(image: bytes) -> dict[int, list[tuple[bytes, dict[str, str]]]]:
    """Requests that the gateway itself refuses, by the status that it answers."""
    body = encode({}, [], [image])
    whole, related = body.to_string(), {"Content-Type": f"multipart/related; boundary={body.boundary_value}"}
    return {
        400: [(whole[:-200], related), (whole.replace(b"{}", b"[]", 1), related)],
        415: [
            (whole, {"Content-Type": "text/plain"}),
            (whole, related | {"Content-Encoding": "gzip"}),
            (b'{"studyPath": "head"}', {"Content-Type": "application/json"}),
        ],
    }


@pytest.mark.parametrize("status", [400, 415])
def test_a_refusal_of_the_gateway_never_reaches_its_error_handler(service: Service, image: bytes, status: int) -> None:
    for body, headers in refusals(image)[status]:
        response = requests.post(service.url + "/", data=body, headers=headers, timeout=PATIENCE)
        assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json")
        assert response.json()["request_id"] == response.headers["X-Request-ID"]
    assert decode(post(service.url + "/boxes", {}, [image])).names == ["json-body", "hashes"]


def test_its_own_health_and_ping_win_over_the_gateways(service: Service) -> None:
    health, ping = (requests.get(service.url + path, timeout=PATIENCE) for path in ("/healthcheck", "/ping"))
    assert (health.status_code, health.text) == (200, "READY")
    assert ping.text == "pong of the service"


def test_the_gateway_adds_ping_and_health_where_the_service_has_no_own() -> None:
    from gateway import Gateway

    client = Gateway("bare").test_client()
    for method in (client.get, client.post):
        assert method("/ping").text == "inference-service is up and accepting connections"
        assert method("/healthcheck").text == "READY"


def test_a_plain_flask_rule_for_a_path_that_we_serve_wins() -> None:
    from gateway import Gateway

    app = Gateway("with rules")
    app.add_url_rule("/healthcheck", "mine", lambda: ("LOADING", 200))
    assert app.test_client().get("/healthcheck").text == "LOADING"


def test_its_log_lines_carry_tags_and_the_text_of_its_own_exceptions(service: Service, image: bytes) -> None:
    answer = decode(post(service.url + "/", {}, [image]))
    post(service.url + "/", {"fail": "unet-8"}, [image])
    said = service.said()
    assert f'{{"input_hash": "{answer.hashes.split(":")[0]}", "instances": 1}} - processing' in said
    assert "internal server error the weights of unet-8 are missing" in said


def test_app_run_off_loopback_serves_without_the_debugger_and_warns(old_service_folder: Path, image: bytes) -> None:
    port = free_port()
    with running(old_service_folder, port, "service.py", "--port", str(port)) as service:
        assert decode(post(service.url + "/boxes", {}, [image])).names == ["json-body", "hashes"]
        assert "Debugger is active" not in service.said()
        assert "debugger" in service.said().lower()


def test_utils_restores_read_file_which_pydicom_3_took_away() -> None:
    probe = "import pydicom, utils; assert pydicom.read_file is pydicom.dcmread, pydicom.read_file"
    subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True)


def test_the_stored_service_uses_the_predecessors_vocabulary() -> None:
    text = OLD_SERVICE.read_text(encoding="utf-8")
    words = ["from gateway import Gateway", "from utils import tagged_logger", "pydicom.read_file(", "return", "[mask]"]
    assert [word for word in words if word not in text] == []
