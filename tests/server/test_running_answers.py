"""Wherever a model runs, its answers and its errors are the same, byte for byte; and it is loaded once."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
import requests
from requests_toolbelt import MultipartDecoder

from tests.conftest import Serve, Server
from tests.server.running import FORMS, PATIENCE, Running, Start, eventually, problem, told
from tests.server.test_faults import TYPE, body

CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
SPOOLED = 100_000
"""Bytes from which the servers of this module spool a request to disk."""


@pytest.fixture(scope="module")
def both(start: Start) -> dict[str, Running]:
    """A server in each form."""
    return {form: start(form, "elements refuses apart", GATEWAY_SPOOL_THRESHOLD=str(SPOOLED)) for form in FORMS}


def parts(response: requests.Response) -> list[tuple[dict[bytes, bytes], bytes]]:
    """All of an answer but its boundary, which is another each time."""
    assert response.status_code == 200, response.text
    return [(dict(part.headers), part.content) for part in MultipartDecoder.from_response(response).parts]


@pytest.mark.parametrize("sizes", [[], [1], [64, 4096, 5], [SPOOLED // 2] * 3, [SPOOLED * 3, 1, SPOOLED]])
def test_both_forms_return_the_same_bytes_and_hashes(both: dict[str, Running], sizes: list[int]) -> None:
    files = [bytes((7 * size + at) % 251 for at in range(size)) for size in sizes]
    answers = [parts(server.ask("elements", {"name": "Käthe", "n": [1.5, None]}, *files)) for server in both.values()]
    assert answers[0] == answers[1]
    assert [content for _, content in answers[0][1:-1]] == [bytes(octet & 1 for octet in file) for file in files]
    assert answers[0][-1][1].count(b":") == 1


@pytest.mark.parametrize(
    ("way", "status", "code"),
    [
        ("plain", 422, "study-refused"),
        ("parameter", 422, "parameter-refused"),
        ("members", 422, "study-refused"),
        ("unavailable", 503, "unavailable"),
        ("unspeakable", 500, "model-failed"),
        ("text", 500, "model-failed"),
        ("exit", 500, "model-failed"),
        ("nothing", 500, "answer-invalid"),
        ("promise", 500, "answer-invalid"),
    ],
)
def test_both_forms_return_the_same_text_of_an_error(
    both: dict[str, Running], way: str, status: int, code: str
) -> None:
    answers = [server.ask("refuses", {"with": way}) for server in both.values()]
    problems = [problem(answer, status, code) for answer in answers]
    assert {found.pop("request_id") for found in problems} == {answer.headers["X-Request-ID"] for answer in answers}
    assert problems[0] == problems[1]
    assert [answer.headers.get("Retry-After") for answer in answers] == ["17" if way == "unavailable" else None] * 2
    if way == "parameter":
        assert problems[0]["pointer"] == "/threshold"
        assert [one["pointer"] for one in problems[0]["errors"]] == ["/threshold", "/side"]
    if way == "members":
        assert problems[0]["slices"] == 3
    assert both["process"].health("refuses")["restarts"] == 0


def test_neither_form_returns_the_text_of_an_exception(both: dict[str, Running]) -> None:
    for server in both.values():
        answer = server.ask("refuses", {"with": "text"})
        eventually(lambda server=server: "builtins.RuntimeError" in server.server.log)
        assert "JANE" not in answer.text + server.server.log


def test_json_of_any_size_crosses_also_where_it_decides_who_is_answered_together(both: dict[str, Running]) -> None:
    text = "x" * 300_000
    assert [told(server.ask("apart", {"text": text}))["size"] for server in both.values()] == [1, 1]


@pytest.mark.slow
def test_the_example_models_answer_the_same_in_both_forms(serve: Serve) -> None:
    from models.app import MODELS

    def ask(server: Server, route: str) -> list[tuple[dict[bytes, bytes], bytes]]:
        sent = {"Content-Type": TYPE}
        return parts(
            requests.post(server.url + route, data=body(b"{}", CT.read_bytes()), headers=sent, timeout=PATIENCE)
        )

    plain, apart = (serve("models.app:app", GATEWAY_MODEL_PROCESSES=number) for number in FORMS.values())
    try:
        for route in MODELS:
            here, there = ask(plain, route), ask(apart, route)
            assert _without_made_objects(here) == _without_made_objects(there)
    finally:
        plain.stop()
        apart.stop()


def _without_made_objects(found: list[tuple[dict[bytes, bytes], bytes]]) -> list[object]:
    """An answer without its DICOM objects, which contain the time of receipt, and without its hash."""
    if any(headers[b"Content-Type"] == b"application/dicom" for headers, _ in found):
        return [json.loads(found[0][1]), [headers for headers, _ in found]]
    return list(found)


def test_a_model_is_loaded_once_behind_four_workers_and_never_in_the_master(start: Start) -> None:
    server = start("process", "loaded echo", "--workers", "4")
    seen: dict[str, set[object]] = {"loaded": set(), "echo": set()}
    workers: set[str] = set()

    def ask(route: str) -> None:
        answer = server.ask(route)
        workers.add(answer.headers["X-Worker"])
        words = json.loads(MultipartDecoder.from_response(answer).parts[0].text)
        seen[route].add(words["study_ml_json"]["pid"] if route == "echo" else _label(words, "pid"))

    with ThreadPoolExecutor(16) as threads:
        while len(workers) < 4:
            list(threads.map(ask, ["loaded", "echo"] * 16))
    assert seen["echo"] == server.hosts("echo")
    assert {int(str(pid)) for pid in seen["loaded"]} == server.hosts("loaded") == set(server.noted("setup"))
    assert server.master not in server.noted("setup")
    assert len(server.noted("setup")) == 1


def test_inside_the_workers_each_loads_the_model_and_the_master_does_not(start: Start) -> None:
    server = start("inline", "loaded", "--workers", "2")
    eventually(lambda: set(server.noted("setup")) == server.workers)
    assert len(server.noted("setup")) == 2


def _label(words: dict[str, object], name: str) -> object:
    """The value of a classification under a name."""
    return next(iter(_find(words, name)))


def _find(words: object, name: str) -> list[object]:
    if isinstance(words, dict):
        return [words[name]] if name in words else [found for one in words.values() for found in _find(one, name)]
    return [found for one in words for found in _find(one, name)] if isinstance(words, list) else []
