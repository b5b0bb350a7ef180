"""The queue of a model: a request without room is refused at once, and requests of one key stay in order."""

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from requests_toolbelt import MultipartDecoder

from tests.conftest import ROOT
from tests.server.running import ALL_FORMS, Running, Start, problem, told
from tests.server.test_faults import TYPE
from tests.waiting import PATIENCE, eventually

CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"


@pytest.fixture(scope="module", params=ALL_FORMS)
def server(request: pytest.FixtureRequest, start: Start) -> Running:
    # inside a worker each has a line of its own; model processes have one for all
    workers = "1" if request.param == "inline" else "2"
    return start(request.param, "one echo together apart typed mixed", "--workers", workers)


@pytest.mark.slow
def test_who_finds_the_line_full_is_refused_before_the_body_is_read(server: Running) -> None:
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(server.ask, "one", {"until": "go", "name": "running"})
        eventually(lambda: server.noted("began", "running"))
        waiting = threads.submit(server.ask, "one")
        eventually(lambda: server.health("one")["state"] == "busy")
        with socket.create_connection(("127.0.0.1", server.server.port), timeout=PATIENCE) as client:
            head = f"POST /one HTTP/1.1\r\nHost: localhost\r\nContent-Type: {TYPE}\r\nContent-Length: 1000000\r\n\r\n"
            client.sendall(head.encode())  # and nothing more
            answer = client.recv(1000)
        assert not waiting.done()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in answer
        assert server.get("/ping").status_code == 200
        assert server.get("/healthcheck").text == "BUSY"
        assert server.get("/readyz").status_code == 200  # others of its kind may be as busy: no reason to leave it
        assert told(server.ask("echo"))
        server.order("go")
        told(running.result())
        told(waiting.result())
    eventually(lambda: server.get("/healthcheck").text == "READY")


def test_requests_beyond_the_free_places_are_refused_at_once_with_a_retry_after(
    server: Running,
) -> None:
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(server.ask, "one", {"until": "go on", "name": "crowd"})]
        eventually(lambda: server.noted("began", "crowd"))
        asked += [threads.submit(server.ask, "one", {"until": "go on"}) for _ in range(7)]
        eventually(lambda: sum(one.done() for one in asked) == 6)  # one runs, one waits
        server.order("go on")
        answers = [one.result() for one in asked]
    told(answers[0])
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == 6
    for answer in refused:
        problem(answer, 503, "unavailable")
        assert 1 <= int(answer.headers["Retry-After"]) <= PATIENCE


def at_once(server: Running, route: str, asked: list[dict[str, Any]], *files: bytes) -> list[requests.Response]:
    """All are in before the first is answered: those that the first batch has no room for wait for it."""
    server.order("hold")
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = [threads.submit(server.ask, route, one, *files) for one in asked]
        eventually(lambda: len(asked) - sum(one.done() for one in answers) == _inside(server, route))
        server.order("hold", "")
        return [one.result() for one in answers]


def _inside(server: Running, route: str) -> int:
    health = server.health(route)
    return int(health["queued"] + health["running"])


def test_a_batch_is_never_larger_than_declared_and_each_gets_its_own_answer(server: Running) -> None:
    noted = len(server.noted("batch"))
    answers = [told(answer) for answer in at_once(server, "together", [{"n": n} for n in range(12)])]
    assert [answer["n"] for answer in answers] == list(range(12))
    assert max(answer["size"] for answer in answers) <= 4
    assert any(answer["size"] > 1 for answer in answers)
    assert len(server.noted("batch")) - noted < 12


def test_one_alone_does_not_wait_for_others_longer_than_declared(server: Running) -> None:
    assert told(server.ask("together", {"n": 1}))["size"] == 1


def test_of_a_batch_the_poisoned_one_fails_alone(server: Running) -> None:
    asked: list[dict[str, Any]] = [{"n": n, "poison": n == 2} for n in range(4)]
    answers = at_once(server, "together", asked)
    problem(answers[2], 500, "model-failed")
    assert [told(answer)["n"] for n, answer in enumerate(answers) if n != 2] == [0, 1, 3]
    assert told(server.ask("together", {"n": 9}))["n"] == 9


def test_a_plain_model_gets_no_two_parameters_in_one_batch(server: Running) -> None:
    answers = at_once(server, "apart", [{"t": n % 2} for n in range(8)])
    assert any(told(answer)["size"] > 1 for answer in answers)


def labels(answer: requests.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    words = json.loads(MultipartDecoder.from_response(answer).parts[0].text)
    return {name: found for name in ("size", "threshold") for found in _find(words, name)}


def _find(words: object, name: str) -> list[str]:
    if isinstance(words, dict):
        return [str(words[name])] if name in words else [found for one in words.values() for found in _find(one, name)]
    return [found for one in words for found in _find(one, name)] if isinstance(words, list) else []


@pytest.mark.parametrize("route", ["typed", "mixed"])
def test_a_typed_model_gets_its_arguments_as_lists_and_mixes_parameters_only_where_declared(
    server: Running, route: str
) -> None:
    asked = [{"threshold": (n % 2) / 4} for n in range(8)]
    answers = [labels(answer) for answer in at_once(server, route, asked, CT.read_bytes())]
    assert [answer["threshold"] for answer in answers] == [str(one["threshold"]) for one in asked]
    assert any(answer["size"] > "1" for answer in answers)
    if route == "typed":
        assert len(server.noted("typed")) >= 2


def test_a_parameter_that_does_not_fit_fails_alone_too(server: Running) -> None:
    asked: list[dict[str, Any]] = [{"threshold": 0.5}, {"threshold": "high"}, {"threshold": 0.5}]
    for route in ("typed", "mixed"):
        answers = at_once(server, route, asked, CT.read_bytes())
        problem(answers[1], 422, "parameter-refused")
        assert [labels(answers[n])["threshold"] for n in (0, 2)] == ["0.5", "0.5"]


@pytest.mark.parametrize("threads", [1, 2])
def test_serve_refuses_settings_under_which_no_thread_could_refuse(threads: int) -> None:
    command = [sys.executable, "-m", "gateway", "serve", "tests.apps.running:app", "--port", "0"]
    ran = subprocess.run(
        [*command, "--threads", str(threads)], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert ran.returncode != 0
    assert "reserved_threads" in ran.stderr
