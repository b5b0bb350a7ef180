"""docs/running.md is true: its states are the code's, and its models run, started in either way."""

import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import requests

from gateway import Client, Execution, Settings
from gateway.client import ClientError
from gateway.contract.execution import HealthState
from gateway.dicom.samples import phantom
from gateway.endpoints.health import PROBES
from gateway.service.service import DRAINING
from tests.conftest import Serve, Server
from tests.executors.processes import below, wait_until_ready
from tests.house.pages import ROOT, blocks, commands, rows
from tests.waiting import PATIENCE

PAGE = ROOT / "docs/running.md"
HOST = "gateway.executors.host"


def test_the_health_states_are_those_of_the_code() -> None:
    assert {state.strip("`") for state, *_ in rows(PAGE, "state")} == {*HealthState, DRAINING}


def test_the_health_paths_are_those_of_the_code() -> None:
    assert {path.strip("`") for path, *_ in rows(PAGE, "path")} == PROBES.keys()


def test_what_an_author_may_declare_is_what_running_takes_and_falls_back_on_settings_that_exist() -> None:
    table = {name.strip("`"): setting.strip("`") for name, setting, _ in rows(PAGE, "`Execution`")}
    assert table.keys() == {field.name for field in fields(Execution)}
    assert {setting for setting in table.values() if setting} <= {field.name for field in fields(Settings)}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return phantom.write(tmp_path_factory.mktemp("phantom") / "study")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reader who saved the page's first models as page.py."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.py").write_text(blocks(PAGE, "python")[0].text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["serve", "gunicorn"])
def server(
    request: pytest.FixtureRequest, serve: Serve, page: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The page's models behind two workers, started by the page's own command."""
    (line,) = [line for line in commands(PAGE) if f" {request.param} " in f" {line}"]
    words = line.replace("models.app:app", "page:app").replace("--workers 4", "--workers 2").split()
    if request.param == "serve":
        assert words[:5] == ["python", "-m", "gateway", "serve", "page:app"]
        yield serve("page:app", *words[5:], pythonpath=page)
        return
    environment = dict(word.split("=") for word in words if re.match("[A-Z_]+=", word))
    arguments = [word for word in words if word not in ("gunicorn", *(f"{k}={v}" for k, v in environment.items()))]
    started = Server(
        [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", *arguments],
        tmp_path_factory.mktemp("gunicorn"),
        {"PYTHONPATH": f"{page}{os.pathsep}{ROOT}", **environment},
    )
    yield started
    started.stop()


@pytest.mark.slow
def test_each_model_has_its_process_behind_all_workers_and_answers(server: Server, study: list[Path]) -> None:
    wait_until_ready(server)
    assert len(below(server.process.pid, HOST)) == 2
    for route, label in {"/dense": "Dense", "/bright": "Bright"}.items():
        with Client(server.url) as client:
            answer = client.ask({}, study, route=route)
        assert answer.json["parts"][0]["label"] == label
        assert answer.masks()[0].any()
    assert "progress: " in server.log


def test_the_deadline_is_available_and_a_shorter_one_is_obeyed(server: Server, study: list[Path]) -> None:
    wait_until_ready(server)
    body = b"".join(b"\r\n--b\r\n\r\n" + part for part in (b"{}", *(path.read_bytes() for path in study)))
    asked = {"whole": "600", "none": "0.000001", "no number": "soon"}
    answers = {
        name: requests.post(
            f"{server.url}/dense",
            data=body + b"\r\n--b--\r\n",
            headers={"Content-Type": "multipart/related; boundary=b", "X-Request-Timeout": seconds},
            timeout=PATIENCE,
        )
        for name, seconds in asked.items()
    }
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "whole": 200,
        "none": 504,
        "no number": 400,
    }
    assert answers["whole"].headers["X-Request-Timeout"] == "120"  # the model's own timeout is the most


def test_requests_that_arrive_together_are_answered_as_a_batch(server: Server, study: list[Path]) -> None:
    wait_until_ready(server)
    failed: list[ClientError] = []

    def ask() -> None:
        try:
            with Client(server.url) as client:
                client.ask({}, study, route="/bright")
        except ClientError as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_every_state_of_health_can_be_reported(server: Server) -> None:
    wait_until_ready(server)
    said = {path: requests.get(server.url + path, timeout=PATIENCE) for path in PROBES}
    assert {path: answer.status_code for path, answer in said.items()} == dict.fromkeys(PROBES, 200)
    assert said["/healthcheck"].text == "READY"
    assert {model["state"] for model in said["/readyz"].json()["models"].values()} == {"ready"}
