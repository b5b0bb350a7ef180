"""Under real gunicorn with two workers: each caller has bounds of its own, and no other one feels them."""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from tests.conftest import Serve, Server
from tests.server.running import in_flight
from tests.waiting import PATIENCE, eventually

TYPE = "multipart/related; boundary=b"


def post(url: str, key: str, until: Path = Path("/")) -> requests.Response:
    """Request an answer that is sent once a file exists."""
    body = b'--b\r\n\r\n{"until": "%s"}\r\n--b--\r\n' % str(until).encode()
    headers = {"Content-Type": TYPE, "X-API-Key": key}
    return requests.post(url + "/echo", data=body, headers=headers, timeout=PATIENCE)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    keys = {name: new_key() for name in ("busy", "calm")}
    entries = [CallerEntry(Caller(name, frozenset({"infer"})), fingerprint(key)) for name, key in keys.items()]
    change(tmp_path / "callers.json", lambda _: entries)
    return keys


def start(serve: Serve, folder: Path, **bounds: str) -> Server:
    bounds |= {"GATEWAY_API_KEYS_FILE": str(folder / "callers.json"), "GATEWAY_EXPOSE_METRICS": "anyone"}
    return serve("tests.apps.guarded:app", "--workers", "2", **bounds)


def test_a_caller_gets_its_burst_from_all_workers_together_and_another_its_own(
    serve: Serve, tmp_path: Path, keys: dict[str, str]
) -> None:
    server = start(serve, tmp_path, GATEWAY_CALLER_RATE="1", GATEWAY_CALLER_BURST="8")
    with ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        busy = list(pool.map(lambda _: post(server.url, keys["busy"]), range(40)))
        minutes = (time.monotonic() - began) / 60
        calm = list(pool.map(lambda _: post(server.url, keys["calm"]), range(8)))
    count = Counter(answer.status_code for answer in busy)
    assert count.keys() == {200, 429}
    assert 8 <= count[200] <= 8 + minutes  # one more a minute
    assert [answer.status_code for answer in calm] == [200] * 8
    refused = next(answer for answer in busy if answer.status_code == 429)
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["type"].endswith(":too-many-requests")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert "caller busy" in server.log


def test_a_callers_requests_at_work_are_counted_in_all_workers_and_after_one_was_killed(
    serve: Serve, tmp_path: Path, keys: dict[str, str]
) -> None:
    server = start(serve, tmp_path, GATEWAY_CALLER_CONCURRENCY="4")
    url, busy = server.url, keys["busy"]
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(post, url, busy, tmp_path / "go") for _ in range(12)]
        eventually(lambda: sum(one.done() for one in asked) == 8)
        (tmp_path / "go").touch()
    assert Counter(one.result().status_code for one in asked) == {200: 4, 429: 8}
    assert [post(url, busy).status_code for _ in range(3)] == [200] * 3  # all places were given back

    def lost() -> None:
        with pytest.raises(requests.ConnectionError):
            post(url, busy, tmp_path / "never")

    clients = [threading.Thread(target=lost) for _ in range(4)]
    for client in clients:
        client.start()
    eventually(lambda: in_flight(url) == 4)
    assert post(url, busy).status_code == 429
    killed = _children(server.process.pid)
    for worker in killed:
        os.kill(worker, signal.SIGKILL)
    for client in clients:
        client.join()
    eventually(lambda: not set(killed) & set(_children(server.process.pid)))
    eventually(lambda: _serves(url, busy))
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(post, url, busy, tmp_path / "go on") for _ in range(4)]
        eventually(lambda: in_flight(url) == 4)
        (tmp_path / "go on").touch()
    assert [one.result().status_code for one in asked] == [200] * 4


def _serves(url: str, key: str) -> bool:
    with contextlib.suppress(requests.ConnectionError):  # of a worker that is being replaced
        return post(url, key).status_code == 200
    return False


def test_a_caller_at_its_limits_delays_no_other(serve: Serve, tmp_path: Path, keys: dict[str, str]) -> None:
    server = start(serve, tmp_path, GATEWAY_CALLER_CONCURRENCY="2", GATEWAY_CALLER_RATE="60000")
    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(post, server.url, keys["busy"], tmp_path / "go") for _ in range(2)]
        eventually(lambda: in_flight(server.url) == 2)
        for _ in range(20):
            assert post(server.url, keys["busy"]).status_code == 429
            assert post(server.url, keys["calm"]).status_code == 200
        assert not any(one.done() for one in held)
        (tmp_path / "go").touch()
    assert [one.result().status_code for one in held] == [200] * 2


def test_a_caller_that_sends_its_next_request_at_once_has_one_in_flight(
    serve: Serve, tmp_path: Path, keys: dict[str, str]
) -> None:
    server = start(serve, tmp_path, GATEWAY_CALLER_CONCURRENCY="1")
    assert {post(server.url, keys["busy"]).status_code for _ in range(200)} == {200}


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
