"""A server that stops or reloads loses no request, closes its models, and leaves nothing."""

import hashlib
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT, Server
from tests.server.running import MOSTLY_PROCESS, RAY, Running, Start, told
from tests.waiting import PATIENCE, eventually

PAUSE = 0.04
"""Seconds between two requests of a client, which leave some of the processor to the workers that start."""
SHARED_MEMORY = Path("/dev/shm")
VERSION = re.compile(r"version \w+")


@pytest.mark.parametrize("form", [*MOSTLY_PROCESS, RAY])
def test_sigterm_lets_requests_finish_and_models_close_and_leaves_no_file_or_process(
    start: Start, form: str, tmp_path: Path
) -> None:
    limits = {"GATEWAY_DRAIN_DELAY": "5", "GATEWAY_SPOOL_THRESHOLD": "1000", "GATEWAY_SPOOL_FOLDER": str(tmp_path)}
    server = start(form, "sleeps loaded", "--workers", "1", TMPDIR=str(tmp_path), **limits)
    with ThreadPoolExecutor(9) as threads:
        asked = [
            threads.submit(server.ask, "sleeps", {"until": "go", "name": "in flight"}, bytes(10_000)) for _ in range(8)
        ]
        eventually(lambda: server.noted("began", "in flight"))
        opened = _opened(server)
        mine = [path.name for path in SHARED_MEMORY.iterdir() if any(str(path) in target for target in opened)]
        os.kill(server.master, signal.SIGTERM)
        eventually(lambda: server.get("/readyz").status_code == 503)  # it says so while it still takes connections
        assert server.get("/readyz").json()["status"] == "draining"
        assert server.get("/healthcheck").text == "DRAINING"
        assert server.get("/livez").status_code == 200
        late = threads.submit(server.ask, "sleeps", {"until": "go"})
        eventually(lambda: _is_closed(server))
        server.order("go")
        assert [one.result().status_code for one in asked] == [200] * 8
        assert late.result().status_code == 200
    assert server.server.process.wait(PATIENCE) == 0
    eventually(lambda: not server.family())
    assert server.noted("closed") == server.noted("setup")
    assert list(tmp_path.iterdir()) == []
    assert [name for name in mine if (SHARED_MEMORY / name).exists()] == []


def test_sigterm_lets_every_request_that_was_accepted_wait_for_a_place(start: Start) -> None:
    limits = {"GATEWAY_DRAIN_DELAY": "3", "GATEWAY_RESERVED_THREADS": "1"}
    server = start("inline", "sleeps", "--workers", "1", "--threads", "2", **limits)
    with ThreadPoolExecutor(9) as threads:
        asked = [threads.submit(server.ask, "sleeps", {"until": "go", "name": "first"})]
        eventually(lambda: server.noted("began", "first"))
        os.kill(server.master, signal.SIGTERM)
        eventually(lambda: server.get("/readyz").status_code == 503)
        asked += [threads.submit(server.ask, "sleeps", {"until": "go"}) for _ in range(8)]
        eventually(lambda: _is_closed(server))
        server.order("go")
        assert [one.result().status_code for one in asked] == [200] * 9
    assert server.server.process.wait(PATIENCE) == 0


def _opened(server: Running) -> list[str]:
    """The files that the server's processes have open."""
    return [_target(link) for pid in server.family() for link in Path(f"/proc/{pid}/fd").glob("*")]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _is_closed(server: Running) -> bool:
    try:
        server.get("/ping")
    except requests.ConnectionError:
        return True
    return False


def test_sigterm_while_a_model_is_being_set_up_ends_all_the_same(start: Start) -> None:
    server = start("process", "slow", "--workers", "1", ready=False)
    eventually(lambda: server.noted("begun"))
    assert not server.is_ready()
    os.kill(server.master, signal.SIGTERM)
    eventually(lambda: not server.workers)
    server.order("go")
    assert server.server.process.wait(PATIENCE) == 0
    eventually(lambda: not server.family())
    assert "Traceback" not in server.server.log


class Load:
    """Clients that send one request after another, each over a new connection, until stopped."""

    def __init__(self, server: Running, route: str, clients: int) -> None:
        self._server, self._route = server, route
        self._over = threading.Event()
        self.seen: Counter[object] = Counter()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        while not self._over.wait(PAUSE):
            try:
                answer = self._server.ask(self._route)
                self.seen[answer.status_code if answer.status_code != 200 else _version(answer)] += 1
            except requests.RequestException as error:
                self.seen[type(error).__name__] += 1

    def stop(self) -> None:
        self._over.set()
        for thread in self.threads:
            thread.join()


def _version(answer: requests.Response) -> str:
    found = VERSION.search(answer.text)
    assert found, answer.text
    return found[0]


@contextmanager
def load(server: Running, route: str = "loaded", clients: int = 4) -> Iterator[Load]:
    found = Load(server, route, clients)
    for thread in found.threads:
        thread.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def process(start: Start) -> Running:
    return start("process", "loaded echo", orders={"version": "version first"})


@pytest.fixture(scope="module")
def inline(start: Start) -> Running:
    return start("inline", "loaded echo", orders={"version": "version first"})


@pytest.fixture(scope="module")
def ray(start: Start) -> Running:
    return start("ray", "loaded echo", orders={"version": "version first"})


@pytest.fixture(params=[*MOSTLY_PROCESS, RAY])
def server(request: pytest.FixtureRequest) -> Running:
    found: Running = request.getfixturevalue(request.param)
    return found


@pytest.mark.slow
def test_an_actor_of_the_bridges_node_gets_files_as_a_model_process_does(ray: Running) -> None:
    eventually(ray.is_ready)
    assert ray.connected_actors() == 2
    study = bytes(range(256)) * (1 << 16)
    assert told(ray.ask("echo", {}, study))["sha256"] == hashlib.sha256(study).hexdigest()


def loaded(server: Running) -> set[int]:
    """The processes that hold the model."""
    return server.workers if server.form == "inline" else server.hosts("loaded")


def test_sighup_under_load_brings_the_new_version_without_a_refused_request(server: Running) -> None:
    before, version = loaded(server), _version(server.ask("loaded"))
    with load(server) as clients:
        eventually(lambda: clients.seen[version] >= 20)
        server.order("version", "version second")
        os.kill(server.master, signal.SIGHUP)
        eventually(lambda: clients.seen["version second"] >= 20)
        eventually(lambda: not loaded(server) & before)
    assert set(clients.seen) == {version, "version second"}
    assert set(server.noted("closed")) >= (set() if server.form == "inline" else before)
    eventually(server.is_ready)
    eventually(lambda: _version(server.ask("loaded")) == "version second")


@pytest.mark.slow
def test_a_new_version_that_cannot_be_set_up_leaves_the_former_serving_and_the_next_takes_over(
    process: Running,
) -> None:
    before, version = loaded(process), _version(process.ask("loaded"))
    with load(process) as clients:
        eventually(lambda: clients.seen[version] >= 5)
        process.order("broken", "no such weights")
        os.kill(process.master, signal.SIGHUP)
        eventually(lambda: "no such weights" in process.health("loaded")["reason"] and process.is_ready())
        count = clients.seen[version]
        eventually(lambda: clients.seen[version] >= count + 20)
        assert set(clients.seen) == {version}
        assert loaded(process) == before
        assert told(process.ask("echo"))
        process.order("broken", "")
        process.order("version", "version third")
        os.kill(process.master, signal.SIGHUP)
        eventually(lambda: clients.seen["version third"] >= 20)
    assert set(clients.seen) == {version, "version third"}
    eventually(process.is_ready)


def test_inside_the_workers_a_new_version_that_cannot_be_set_up_fails_alone(start: Start) -> None:
    server = start("inline", "loaded echo", "--workers", "1")
    server.order("broken", "no such weights")
    os.kill(server.master, signal.SIGHUP)
    eventually(lambda: server.not_ready().get("/loaded", {}).get("state") == "failed")
    assert told(server.ask("echo"))
    assert server.server.process.poll() is None


def test_a_worker_that_is_killed_under_load_fails_its_own_requests_alone(server: Running) -> None:
    eventually(server.is_ready)
    with load(server, clients=2) as clients:
        eventually(lambda: sum(clients.seen.values()) >= 20)
        os.kill(min(server.workers), signal.SIGKILL)
        count = sum(clients.seen.values())
        eventually(lambda: sum(clients.seen.values()) >= count + 40 and len(server.workers) == 2)
    assert clients.seen["ConnectionError"] <= 2  # one that each client had there
    assert len(set(clients.seen) - {"ConnectionError"}) == 1


CONFIGURATION = """
import os, pathlib, signal
from gateway.server.master import DEFAULTS, HOOKS

globals().update(DEFAULTS | HOOKS)
told = pathlib.Path({told!r})


def post_fork(_master, worker):
    if not told.exists():
        told.write_text(str(worker.pid))
        os.kill(worker.pid, signal.SIGTERM)
"""


def test_a_worker_that_is_stopped_in_its_first_moment_ends(tmp_path: Path) -> None:
    """It has no handlers of its own yet."""
    told, configuration = tmp_path / "told", tmp_path / "configuration.py"
    configuration.write_text(CONFIGURATION.format(told=str(told)))
    words = ["-c", str(configuration), "--bind", "127.0.0.1:0", "tests.apps.guarded:app"]
    server = Server([sys.executable, "-m", "gunicorn", *words], tmp_path, {"PYTHONPATH": str(ROOT)})
    try:
        worker = Path("/proc", eventually(lambda: told.exists() and told.read_text()))
        eventually(lambda: not worker.exists())
    finally:
        server.stop()
