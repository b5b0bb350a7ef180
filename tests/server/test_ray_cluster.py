"""Models in a Ray cluster of three nodes: what dies fails its own requests alone, health notices in time, and all is
as before once the node, or the cluster, is back."""

import hashlib
import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.dicom.samples import phantom
from tests.commands import ROOT, Command, command
from tests.conftest import Serve
from tests.ray_cluster import RayCluster, cluster
from tests.ray_packages import ray_variables
from tests.server.running import Running, problem, told
from tests.server.test_faults import TYPE, body
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

MARK = uuid.uuid4().hex
"""Of the processes of this run alone."""
MODELS = "echo dies mask admitted"
GIB = 1 << 30
SOON, SILENT = 2.0, 6.0
"""Seconds within which a death is noticed, and the silence of a node or a head: five, and one for a busy machine."""


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def nodes(ray_packages: str, notes: Path) -> Iterator[RayCluster]:
    mark = {"NOTES": str(notes), "MODELS": MODELS, "RUNNING_TEST_MARK": MARK}
    with cluster({**ray_variables(ray_packages), **mark}) as found:
        yield found


@pytest.fixture(scope="module")
def server(serve: Serve, nodes: RayCluster, notes: Path, tmp_path_factory: pytest.TempPathFactory) -> Running:
    variables = {**nodes.variables, "GATEWAY_RAY": nodes.address, "GATEWAY_BREAKER_COOLDOWN": "1"}
    variables["GATEWAY_STORE_FOLDER"] = str(tmp_path_factory.mktemp("store"))
    started = serve("tests.apps.running:app", "--workers", "2", **variables)
    running = Running(started, notes, MARK, "ray")
    eventually(running.is_ready)
    return running


def seconds_until(look: Callable[[], object]) -> float:
    began = time.monotonic()
    eventually(look)
    return time.monotonic() - began


def host(server: Running, route: str) -> int:
    """The process of a model, once it is the only one: one that was given up ends soon after."""
    (pid,) = eventually(lambda: found if len(found := server.hosts(route)) == 1 else set())
    return pid


def test_a_replica_that_is_killed_is_noticed_in_time_and_replaced(server: Running) -> None:
    eventually(server.is_ready)
    before = host(server, "echo")
    os.kill(before, signal.SIGKILL)
    assert seconds_until(lambda: server.not_ready().get("/echo", {}).get("reason")) <= SOON
    assert told(server.ask("dies"))
    eventually(server.is_ready)
    assert {told(server.ask("echo"))["pid"]} == server.hosts("echo") != {before}


def test_a_replica_that_dies_in_a_request_fails_that_request_alone(server: Running) -> None:
    eventually(server.is_ready)
    problem(server.ask("dies", {"by": "exit"}), 502, "model-died")
    assert told(server.ask("echo"))
    assert told(server.ask("dies"))


def node_of(nodes: RayCluster, pid: int) -> int:
    """The place of the node, among those of the cluster, whose session a process is of."""
    return [node.pid for node in nodes.nodes].index(os.getsid(pid))


def test_a_node_that_is_killed_fails_its_own_requests_alone_and_its_replicas_move(
    server: Running, nodes: RayCluster
) -> None:
    eventually(server.is_ready)
    pid = host(server, "admitted")
    place = node_of(nodes, pid)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(server.ask, "admitted", {"name": "on the node"})
        eventually(lambda: server.noted("began", "on the node"))
        nodes.kill(nodes.nodes[place])
        noticed = seconds_until(lambda: server.not_ready().get("/admitted", {}).get("reason"))
        nodes.nodes[place] = nodes.start_node()
        problem(asked.result(), 502, "model-died")
    assert noticed <= SOON
    eventually(server.is_ready)
    admit(server)
    assert told(server.ask("admitted"))
    assert told(server.ask("echo"))


def admit(server: Running, count: int = 1) -> None:
    """Let calls of the model ``admitted`` end."""
    for _ in range(count):
        server.order(f"ticket {uuid.uuid4().hex}")


def submit(server: Running, name: str) -> str:
    """Submit a run of the model ``admitted``; return its address."""
    data = body(json.dumps({"name": name}).encode(), name.encode())
    made = requests.post(
        f"{server.url}/runs?route=/admitted", data=data, headers={"Content-Type": TYPE}, timeout=PATIENCE
    )
    assert made.status_code == 201, made.text
    return f"{server.url}{made.headers['Location']}"


def ended(run: str) -> dict[str, Any]:
    """The run at an address, once it has ended."""

    def look() -> dict[str, Any]:
        words: dict[str, Any] = requests.get(f"{run}?wait=10", timeout=PATIENCE).json()
        return words if words["ended"] else {}

    return eventually(look)


def test_a_node_that_is_killed_loses_no_run(server: Running, nodes: RayCluster) -> None:
    eventually(server.is_ready)
    admit(server, 3)
    finished = [submit(server, f"finished {number}") for number in range(3)]
    before = [ended(run) for run in finished]
    results = [requests.get(f"{run}/result", timeout=PATIENCE).content for run in finished]
    interrupted = submit(server, "interrupted")
    (pid,) = eventually(lambda: server.noted("began", "interrupted"))
    pending = submit(server, "pending")
    place = node_of(nodes, pid)
    nodes.kill(nodes.nodes[place])
    nodes.nodes[place] = nodes.start_node()
    admit(server, 2)
    assert [ended(run)["state"] for run in (interrupted, pending)] == ["finished", "finished"]
    assert len(server.noted("began", "interrupted")) == ended(interrupted)["attempts"] == 2
    assert [ended(run) for run in finished] == before
    assert [requests.get(f"{run}/result", timeout=PATIENCE).content for run in finished] == results
    for name in ("pending", *(f"finished {number}" for number in range(3))):
        assert len(server.noted("began", name)) == len(server.noted("finished", name)) == 1


def test_a_node_that_is_killed_loses_no_finished_study_of_a_batch(
    server: Running, nodes: RayCluster, notes: Path, tmp_path: Path
) -> None:
    eventually(server.is_ready)
    for number in range(5):
        phantom.write(tmp_path / "archive" / str(number), slices=3, size=16, study=str(number))
    words = ["batch", "tests.apps.running:app", "-i", tmp_path / "archive", "-o", tmp_path / "out", "--jobs", "1"]
    words += ["--ray", nodes.address, "--model", "/admitted", "--param", "name=batch"]
    environ = {**nodes.variables, "PATH": os.environ["PATH"]}
    admit(server, 2)
    running = Command(words, ROOT, environ, [tmp_path / "output"])
    eventually(lambda: len(server.noted("began", "batch")) == 3)
    place = node_of(nodes, server.noted("began", "batch")[-1])
    nodes.kill(nodes.nodes[place])
    nodes.nodes[place] = nodes.start_node()
    admit(server, 2)
    assert running.wait(PATIENCE) == 1
    log = (tmp_path / "output").read_text()
    assert "studies 4 answered, 0 refused, 1 failed" in log
    rows = (tmp_path / "out" / "studies.csv").read_text().splitlines()
    admit(server)
    again = command(*words, "--resume", folder=ROOT, environ=environ)
    assert again.returncode == 0, again.stderr
    assert "studies 5 answered, 0 refused, 0 failed; 4 were done before" in again.stdout
    assert {row for row in rows if ",failed," not in row} < set(
        (tmp_path / "out" / "studies.csv").read_text().splitlines()
    )
    assert len(server.noted("finished", "batch")) == 5
    assert len(server.noted("began", "batch")) == 6
    assert host(server, "admitted")  # nothing of the batch is left


def test_a_node_that_is_silent_is_noticed_and_fails_its_own_requests_alone(server: Running, nodes: RayCluster) -> None:
    eventually(server.is_ready)
    pid = host(server, "admitted")
    place = node_of(nodes, pid)
    elsewhere = [route for route in ("echo", "dies") if node_of(nodes, host(server, route)) != place]
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(server.ask, "admitted", {"name": "on the silent node"})
        eventually(lambda: server.noted("began", "on the silent node"))
        nodes.kill(nodes.nodes[place], signal.SIGSTOP)
        noticed = seconds_until(lambda: "does not answer" in server.not_ready().get("/admitted", {}).get("reason", ""))
        problem(asked.result(), 502, "model-died")
    assert all(told(server.ask(route)) for route in elsewhere)
    nodes.kill(nodes.nodes[place])  # Ray takes no node back that it has given up
    nodes.nodes[place] = nodes.start_node()
    assert noticed <= SILENT
    eventually(server.is_ready)
    assert told(server.ask("echo"))


def test_a_study_of_a_gibibyte_crosses_and_is_read_as_it_was_sent(server: Running) -> None:
    eventually(server.is_ready)
    assert not server.connected_actors()  # it goes through the object store
    study = bytes(GIB)
    assert told(server.ask("echo", {}, study))["sha256"] == hashlib.sha256(study).hexdigest()
    assert told(server.ask("echo", {}, study))["files"] == 1  # the first has left the object store


def test_a_head_that_is_silent_is_noticed_and_the_models_are_back_once_it_goes_on(
    server: Running, nodes: RayCluster
) -> None:
    eventually(server.is_ready)
    nodes.kill(nodes.head, signal.SIGSTOP)
    noticed = seconds_until(lambda: len(server.not_ready()) == 4)
    nodes.kill(nodes.head, signal.SIGCONT)
    assert noticed <= SILENT
    eventually(server.is_ready)
    assert told(server.ask("echo"))


def test_a_head_that_is_killed_is_noticed_and_the_models_are_back_with_it(server: Running, nodes: RayCluster) -> None:
    eventually(server.is_ready)
    nodes.kill(nodes.head)
    assert seconds_until(lambda: len(server.not_ready()) == 4) <= SILENT
    for node in nodes.nodes:
        nodes.kill(node)
    nodes.head = nodes.start_head()
    nodes.nodes = [nodes.start_node() for _ in range(2)]
    eventually(server.is_ready)
    assert told(server.ask("echo"))
