"""Runs under real gunicorn of two workers, plain and in TLS: polls and streams are woken whichever worker executes."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.access.certificates import Authority, named
from tests.conftest import Serve, Server
from tests.server.test_access import Callers
from tests.server.test_faults import TYPE, body
from tests.waiting import PATIENCE, eventually

EACH = 8
"""Clients that wait at once in each way; chance spreads them over both workers."""


class Runs:
    """A server and its runs. ``notes`` is the folder of files that models wait for."""

    def __init__(self, server: Server, authority: Authority, notes: Path) -> None:
        self.url, self._authority, self._notes = server.url, authority, notes

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """Send a request over a connection of its own."""
        headers = {"Connection": "close"} | more.pop("headers", {})
        options = {"verify": str(self._authority.path), "timeout": PATIENCE} | more
        return requests.request(method, self.url + path, headers=headers, **options)

    def submit(self, route: str, name: str) -> str:
        data = body(json.dumps({"name": name}).encode())
        answer = self.ask("POST", f"/runs?route=/{route}", data=data, headers={"Content-Type": TYPE})
        assert answer.status_code == 201
        return str(answer.json()["id"])

    def becomes(self, id: str, state: str) -> dict[str, Any]:
        """Poll as a client does: each wait begins where the last answer ended."""
        run = self.ask("GET", f"/runs/{id}").json()
        while run["state"] != state:
            assert not run["ended"]
            run = self.ask("GET", f"/runs/{id}?wait=30&after={run['sequence']}").json()
        return dict(run)

    def go(self, name: str) -> None:
        (self._notes / f"go {name}").touch()

    @contextlib.contextmanager
    def streams(self, id: str, count: int) -> Iterator[list[Iterator[str]]]:
        """Open streams, each to be read line by line."""
        with contextlib.ExitStack() as stack:
            answers = [self.ask("GET", f"/runs/{id}/events", stream=True) for _ in range(count)]
            for answer in answers:
                stack.enter_context(answer)
                assert answer.status_code == 200
            yield [answer.iter_lines(chunk_size=1, decode_unicode=True) for answer in answers]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=["http", pytest.param("https", marks=pytest.mark.slow)])
def runs(
    request: pytest.FixtureRequest, serve: Serve, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Runs:
    notes, store = tmp_path_factory.mktemp("notes"), tmp_path_factory.mktemp("store")
    tls = ("--certfile", str(authority.sign(named(CN="server"), "server.pem"))) if request.param == "https" else ()
    options = ("--workers", "2", "--threads", "4", *tls)
    environment = {"GATEWAY_STORE_FOLDER": str(store), "TEST_NOTES": str(notes)}
    return Runs(serve("tests.apps.durable:app", *options, **environment), authority, notes)


def until(lines: Iterator[str], event: str) -> list[str]:
    """The lines of a stream up to an event of a kind, with its data."""
    read = []
    for line in lines:
        read.append(line)
        if read[-2:-1] == [f"event: {event}"]:
            return read
    raise AssertionError(f"the stream ended without {event}: {read}")


def test_streams_on_every_worker_get_each_event_and_end(runs: Runs) -> None:
    id = runs.submit("told", "one")
    with runs.streams(id, EACH) as streams:
        for lines in streams:
            until(lines, "progress")
        runs.go("one")
        rest = [list(lines) for lines in streams]
    data = [[json.loads(line[6:]) for line in lines if line.startswith("data: ")] for lines in rest]
    assert [each[-1]["state"] for each in data] == ["finished"] * EACH
    last = [[line for line in lines if line.startswith("id: ")][-1][4:] for lines in rest]
    assert len(set(last)) == 1
    assert runs.ask("GET", f"/runs/{id}/events", headers={"Last-Event-ID": last[0]}).status_code == 204


def test_polls_are_answered_at_each_change_of_state(runs: Runs) -> None:
    id = runs.submit("told", "two")
    assert runs.becomes(id, "running")["attempts"] == 1
    runs.go("two")
    assert runs.becomes(id, "finished")["ended"] is not None


def test_a_request_that_prefers_to_wait_gets_the_answer_or_the_run(runs: Runs) -> None:
    headers = {"Content-Type": TYPE, "Prefer": "respond-async, wait=30"}
    answer = runs.ask("POST", "/quick", data=body(b"{}", b"x" * 300_000), headers=headers)
    assert answer.status_code == 200
    assert b'"sizes": [300000]' in answer.content
    assert answer.content.endswith(b"--\r\n")
    short = headers | {"Prefer": "respond-async, wait=1"}
    run = runs.ask("POST", "/told", data=body(b'{"name": "three"}'), headers=short)
    assert run.status_code == 202
    runs.go("three")
    assert runs.becomes(run.json()["id"], "finished")


def test_a_stream_of_a_forgotten_run_ends(runs: Runs) -> None:
    id = runs.submit("told", "four")
    with runs.streams(id, 1) as (lines,):
        until(lines, "progress")
        assert runs.ask("DELETE", f"/runs/{id}").status_code == 202
        assert json.loads(list(lines)[-2][6:])["state"] == "cancelled"
    assert runs.ask("DELETE", f"/runs/{id}").status_code == 204
    eventually(lambda: runs.ask("GET", f"/runs/{id}/events").status_code == 404)


def test_where_no_more_answers_may_wait_a_poll_is_refused_and_a_request_gets_its_run_at_once(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    environment = {"GATEWAY_STORE_FOLDER": str(tmp_path), "TEST_NOTES": str(tmp_path), "GATEWAY_WATCHERS": "0"}
    runs = Runs(serve("tests.apps.durable:app", "--threads", "4", **environment), authority, tmp_path)
    headers = {"Content-Type": TYPE, "Prefer": "respond-async, wait=30"}
    answer = runs.ask("POST", "/told", data=body(b'{"name": "one"}'), headers=headers)
    assert answer.status_code == 202
    for path in ("?wait=30", "/events"):
        assert runs.ask("GET", f"/runs/{answer.json()['id']}{path}").status_code == 503
    runs.go("one")
    eventually(lambda: runs.ask("GET", f"/runs/{answer.json()['id']}").json()["state"] == "finished")


def test_one_caller_has_its_share_of_the_answers_that_wait_and_others_have_room(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    callers = Callers(tmp_path / "callers.json")
    greedy, other = ({"Authorization": f"Bearer {callers.add(name, 'infer', 'read')}"} for name in ("greedy", "other"))
    environment = {"GATEWAY_STORE_FOLDER": str(tmp_path / "store"), "TEST_NOTES": str(tmp_path)}
    environment |= {"GATEWAY_API_KEYS_FILE": str(callers.path), "GATEWAY_CALLER_WATCHERS": "1"}
    runs = Runs(serve("tests.apps.durable:app", "--threads", "8", **environment), authority, tmp_path)
    asked = {"data": body(b'{"name": "one"}'), "params": {"route": "/told"}}
    for key in (greedy, other):
        assert runs.ask("PUT", "/runs/one", **asked, headers=key | {"Content-Type": TYPE}).status_code == 201
    with runs.ask("GET", "/runs/one/events", headers=greedy, stream=True) as stream:
        lines = stream.iter_lines(chunk_size=1, decode_unicode=True)  # closes the stream with its last reference
        until(lines, "progress")
        for path in ("?wait=1", "/events"):
            refusal = runs.ask("GET", f"/runs/one{path}", headers=greedy)
            assert refusal.status_code == 429
            assert int(refusal.headers["Retry-After"]) > 0
        prefer = greedy | {"Content-Type": TYPE, "Prefer": "respond-async, wait=30"}
        assert runs.ask("POST", "/told", data=body(b'{"name": "two"}'), headers=prefer).status_code == 202
        assert runs.ask("GET", "/runs/one", headers=greedy).status_code == 200
        with runs.ask("GET", "/runs/one/events", headers=other, stream=True) as others:
            assert others.status_code == 200
    eventually(lambda: runs.ask("GET", "/runs/one?wait=0.01", headers=greedy).status_code == 200)
    for name in ("one", "two"):
        runs.go(name)
