"""Models in a Ray cluster of three nodes: what dies fails its own requests alone, health notices in time, and all is
as before once the node, or the cluster, is back."""

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.ray_cluster import RayCluster, cluster
from tests.ray_packages import ray_variables
from tests.server.running import Running, problem, told
from tests.waiting import eventually

pytestmark = pytest.mark.slow

MODELS = "echo dies mask watches"
GIB = 1 << 30
SOON, SILENT = 2.0, 6.0
"""Seconds within which a death is noticed, and the silence of a node or a head: five, and one for a busy machine."""


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def nodes(ray_packages: str, notes: Path) -> Iterator[RayCluster]:
    mark = {"NOTES": str(notes), "MODELS": MODELS, "RUNNING_TEST_MARK": "cluster"}
    with cluster({**ray_variables(ray_packages), **mark}) as found:
        yield found


@pytest.fixture(scope="module")
def server(serve: Serve, nodes: RayCluster, notes: Path) -> Running:
    variables = {**nodes.variables, "GATEWAY_RAY": nodes.address, "GATEWAY_BREAKER_COOLDOWN": "1"}
    started = serve("tests.apps.running:app", "--workers", "2", **variables)
    running = Running(started, notes, "cluster", "ray")
    eventually(running.is_ready)
    return running


def seconds_until(look: Callable[[], object]) -> float:
    began = time.monotonic()
    eventually(look)
    return time.monotonic() - began


def test_a_replica_that_is_killed_is_noticed_in_time_and_replaced(server: Running) -> None:
    eventually(server.is_ready)
    (before,) = server.hosts("echo")
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
    (pid,) = server.hosts("watches")
    place = node_of(nodes, pid)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(server.ask, "watches", {"seconds": 600, "name": "on the node"})
        eventually(lambda: server.noted("began", "on the node"))
        nodes.kill(nodes.nodes[place])
        noticed = seconds_until(lambda: server.not_ready().get("/watches", {}).get("reason"))
        nodes.nodes[place] = nodes.start_node()
        problem(asked.result(), 502, "model-died")
    assert noticed <= SOON
    eventually(server.is_ready)
    assert told(server.ask("watches", {"seconds": 0}))
    assert told(server.ask("echo"))


def test_a_node_that_is_silent_is_noticed_within_the_deadline_of_a_ping(server: Running, nodes: RayCluster) -> None:
    eventually(server.is_ready)
    (pid,) = server.hosts("mask")
    place = node_of(nodes, pid)
    nodes.kill(nodes.nodes[place], signal.SIGSTOP)
    noticed = seconds_until(lambda: "does not answer" in server.not_ready().get("/mask", {}).get("reason", ""))
    nodes.kill(nodes.nodes[place])  # Ray takes no node back that it has given up
    nodes.nodes[place] = nodes.start_node()
    assert noticed <= SILENT
    eventually(server.is_ready)
    assert told(server.ask("echo"))


def test_a_study_of_a_gibibyte_crosses_and_is_read_as_it_was_sent(server: Running) -> None:
    eventually(server.is_ready)
    study = bytes(GIB)
    assert told(server.ask("echo", {}, study))["sha256"] == hashlib.sha256(study).hexdigest()
    assert told(server.ask("echo", {}, study))["files"] == 1  # the first has left the object store


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
