"""Under real gunicorn with two workers: each caller has bounds of its own, and no other one feels them."""

import os
import signal
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from gateway.access.callers import Caller
from gateway.access.keyfile import Entry, change
from gateway.access.keys import fingerprint, new_key
from tests.conftest import Serve, Server

TYPE = "multipart/related; boundary=b"


def post(url: str, key: str, seconds: float = 0) -> requests.Response:
    body = b'--b\r\n\r\n{"seconds": %f}\r\n--b--\r\n' % seconds
    headers = {"Content-Type": TYPE, "X-API-Key": key}
    return requests.post(url + "/echo", data=body, headers=headers, timeout=60)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    keys = {name: new_key() for name in ("busy", "calm")}
    entries = [Entry(Caller(name, frozenset({"infer"})), fingerprint(key)) for name, key in keys.items()]
    change(tmp_path / "callers.json", lambda _: entries)
    return keys


def start(serve: Serve, folder: Path, **bounds: str) -> Server:
    file = str(folder / "callers.json")
    return serve("tests.apps.guarded:app", "--workers", "2", GATEWAY_API_KEYS_FILE=file, **bounds)


def test_a_caller_gets_its_burst_from_all_workers_together_and_another_its_own(
    serve: Serve, tmp_path: Path, keys: dict[str, str]
) -> None:
    server = start(serve, tmp_path, GATEWAY_CALLER_RATE="1", GATEWAY_CALLER_BURST="8")
    with ThreadPoolExecutor(8) as pool:
        busy = list(pool.map(lambda _: post(server.url, keys["busy"]), range(40)))
        calm = list(pool.map(lambda _: post(server.url, keys["calm"]), range(8)))
    assert Counter(answer.status_code for answer in busy) == {200: 8, 429: 32}
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
        answers = list(pool.map(lambda _: post(url, busy, seconds=1), range(12)))
    assert Counter(answer.status_code for answer in answers) == {200: 4, 429: 8}
    assert [post(url, busy).status_code for _ in range(3)] == [200] * 3  # all places were given back

    def lost() -> None:
        with pytest.raises(requests.ConnectionError):
            while post(url, busy, seconds=60).status_code == 429:
                time.sleep(0.1)  # its place was taken by the one who looks whether all are

    clients = [threading.Thread(target=lost) for _ in range(4)]
    for client in clients:
        client.start()
    _until(lambda: post(url, busy).status_code == 429)
    for worker in _children(server.process.pid):
        os.kill(worker, signal.SIGKILL)
    for client in clients:
        client.join(30)
    _until(lambda: post(url, busy).status_code == 200)
    with ThreadPoolExecutor(4) as pool:
        assert [a.status_code for a in pool.map(lambda _: post(url, busy, seconds=1), range(4))] == [200] * 4


def test_one_caller_over_its_bounds_does_not_slow_another(serve: Serve, tmp_path: Path, keys: dict[str, str]) -> None:
    server = start(serve, tmp_path, GATEWAY_CALLER_CONCURRENCY="2", GATEWAY_CALLER_RATE="60000")
    alone = _median_seconds(server.url, keys["calm"])
    stop = threading.Event()

    def insist() -> None:
        while not stop.is_set():
            post(server.url, keys["busy"], seconds=0.5)

    insisting = [threading.Thread(target=insist) for _ in range(3)]
    for thread in insisting:
        thread.start()
    try:
        _until(lambda: post(server.url, keys["busy"]).status_code == 429)
        beside = _median_seconds(server.url, keys["calm"])
    finally:
        stop.set()
        for thread in insisting:
            thread.join(30)
    assert beside < alone + 0.25, (alone, beside)  # far below the half second that each of the other's requests takes


def _median_seconds(url: str, key: str) -> float:
    def once() -> float:
        began = time.monotonic()
        assert post(url, key).status_code == 200
        return time.monotonic() - began

    return statistics.median(once() for _ in range(20))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _until(condition: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():  # type: ignore[operator]
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise AssertionError("it did not come about")
