"""A wrapper on a route: parts by name and by order, the answer, each failure, and a DICOM study by ``send``."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway import Gateway
from gateway.cli import main
from gateway.dicom.samples import phantom
from tests.adapters.messages import KIND, body, hashes_hold, parts_of
from tests.conftest import Serve, Server
from tests.waiting import PATIENCE

WRAPPERS = Path(__file__).parent / "wrappers"


def post(server: Server, route: str, data: bytes) -> requests.Response:
    return requests.post(server.url + route, data=data, headers={"Content-Type": KIND}, timeout=PATIENCE)


def ask(server: Server, how: str) -> requests.Response:
    return post(server, "/faulty", body({"how": how}, (None, b"x")))


def test_an_answer_is_a_json_of_its_pieces_the_pieces_and_the_hashes(server: Server) -> None:
    response = ask(server, "good")
    parts = parts_of(response.headers["Content-Type"], response.content)
    assert [part.name for part in parts] == ["json-body", "elem_0", "hashes"]
    assert json.loads(parts[0].data) == {"aiges": [{"key": "text", "type": 0, "status": 3, "len": 4}]}
    assert (parts[1].media_type, parts[1].data) == ("text/plain", b"fine")
    assert hashes_hold(parts, b'{"how": "good"}', b"x")
    assert int(response.headers["Content-Length"]) == len(response.content)


FAILED = {
    "lies": ("answer-invalid", "len is 99, but the data has 4 bytes."),
    "int": ("answer-invalid", "The wrapper should return a Response."),
    "refuses": ("wrapper-error", "the picture is too dark"),
    "raises": ("model-failed", "The model raised an exception. The gateway's log has it under this request id."),
    "exits": ("model-failed", "The wrapper tried to end the process."),
}


@pytest.mark.parametrize("how", FAILED)
def test_each_failure_is_a_clear_problem_and_the_server_lives(server: Server, how: str) -> None:
    response = ask(server, how)
    problem, (code, detail) = response.json(), FAILED[how]
    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (problem["type"].rpartition(":")[2], problem["detail"]) == (code, detail)
    assert "JANE" not in response.text + server.log
    assert ask(server, "good").status_code == 200


def test_an_error_code_travels_with_the_wrappers_own_text(server: Server) -> None:
    problem = ask(server, "refuses").json()
    assert (problem["error_code"], problem["detail"]) == (100, "the picture is too dark")


def test_a_wrapper_whose_start_fails_is_reported_in_each_answer_and_by_the_probe(server: Server) -> None:
    for _ in range(2):
        response = post(server, "/unstarted", body({}, (None, b"x")))
        assert response.status_code == 500
        assert response.json()["detail"] == "wrapperInit failed. no licence"
        assert response.json()["error_code"] == 5
    assert requests.get(server.url + "/healthcheck", timeout=PATIENCE).text == "FAILED"


@pytest.mark.parametrize(
    ("params", "detail"),
    [
        ({}, "The parameter how is missing."),
        ({"how": 5}, "The parameter how should be of type string."),
        ({"how": "x" * 21}, "The parameter how should be 0 to 20 characters long."),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_by_name(server: Server, params: dict[str, Any], detail: str) -> None:
    response = post(server, "/faulty", body(params, (None, b"x")))
    assert (response.status_code, response.json()["detail"]) == (422, detail)


def test_a_part_that_no_field_is_declared_for_is_refused(server: Server) -> None:
    response = post(server, "/faulty", body({"how": "good"}, (None, b"x"), (None, b"y")))
    assert response.status_code == 422
    assert "declares no field" in response.json()["detail"]


def found(server: Server, params: dict[str, Any], *parts: tuple[str | None, bytes]) -> Any:
    response = post(server, "/study", body(params, *parts))
    assert response.status_code == 200, response.text
    received = parts_of(response.headers["Content-Type"], response.content)
    assert received[2].media_type == "application/dicom"
    return json.loads(received[1].data)


def test_parts_go_by_their_names_or_else_by_the_order_of_the_fields(server: Server, tmp_path: Path) -> None:
    slices = [path.read_bytes() for path in phantom.write(tmp_path, slices=3, size=16)]
    unnamed: list[tuple[str | None, bytes]] = [(None, data) for data in slices]
    named: list[tuple[str | None, bytes]] = [("study", data) for data in slices]
    numbered: list[tuple[str | None, bytes]] = [(str(n), data) for n, data in enumerate([b"hello", *slices], start=1)]
    for parts in ([(None, b"hello"), *unnamed], [*named, ("note", b"hello")], [*named, (None, b"hello")], numbered):
        seen = found(server, {}, *parts)
        assert (seen["slices"], seen["note"]) == (3, "hello")
    assert found(server, {"threshold": "-500"}, *unnamed) == {
        "slices": 3,
        "sorted": True,
        "threshold": -500,
        "note": None,
    }


def test_a_study_is_sent_and_its_answer_saved_from_the_command_line(server: Server, tmp_path: Path) -> None:
    phantom.write(tmp_path / "study", slices=5, size=16)
    words = ["send", "-i", tmp_path / "study", "-o", tmp_path / "out", "-p", server.port, "-r", "/study"]
    assert main([str(word) for word in [*words, "-R", "threshold=-700"]]) == 0
    seen = json.loads((tmp_path / "out/part_0.bin").read_bytes())
    assert seen == {"slices": 5, "sorted": True, "threshold": -700, "note": None}
    assert (tmp_path / "out/dicom_0.dcm").read_bytes()[128:132] == b"DICM"


def test_fini_is_called_when_the_server_ends(serve: Serve) -> None:
    own = serve("tests.adapters.service:app")
    assert ask(own, "good").status_code == 200
    own.stop()
    assert own.log.count("fini was called") == 1


def test_lenient_settings_let_a_wrong_len_pass_with_a_warning(serve: Serve) -> None:
    own = serve("tests.adapters.service:app", GATEWAY_STRICT="0")
    response = ask(own, "lies")
    assert json.loads(parts_of(response.headers["Content-Type"], response.content)[0].data)["aiges"][0]["len"] == 4
    assert "len is 99, but the data has 4 bytes." in own.log
    assert ask(own, "int").status_code == 500


def test_a_route_takes_one_model_and_a_wrapper_lacks_no_verb(tmp_path: Path) -> None:
    app = Gateway(__name__)
    app.add_wrapper_route("/", WRAPPERS / "faulty.py")
    with pytest.raises(ValueError, match="already maps"):
        app.add_wrapper_route("/", WRAPPERS / "faulty.py")
    half = tmp_path / "half.py"
    half.write_text("from aiges.sdk import WrapperBase\nclass Wrapper(WrapperBase):\n    def wrapperFini(self): pass\n")
    with pytest.raises(NotImplementedError, match="wrapperInit, wrapperOnceExec"):
        app.add_wrapper_route("/half", half)
    half.write_text("")
    with pytest.raises(ImportError, match="no class Wrapper"):
        app.add_wrapper_route("/half", half)
    app.close()
