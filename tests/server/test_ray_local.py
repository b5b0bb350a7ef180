"""A Ray cluster of this machine: a model that waits for a GPU says so and stops in time; strangers stay out."""

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.server.shared_state import CLOSE_SECONDS
from tests.conftest import Serve
from tests.ray_packages import ray_variables
from tests.server.running import Running, told
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp (proc_pid_net(5))."""
CLIENT = (
    "import sys; from ray._raylet import GcsClient; print(len(GcsClient(sys.argv[1]).get_all_node_info(timeout=60)))"
)
"""Asks the head of a cluster, whose address it is given, for its nodes."""


@pytest.fixture(scope="module")
def variables(ray_packages: str) -> dict[str, str]:
    return ray_variables(ray_packages)


@pytest.fixture(scope="module")
def server(serve: Serve, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Running:
    """Two models that want a GPU, and three that do not."""
    mark = uuid.uuid4().hex
    started = serve("tests.apps.on_devices:app", **variables, GATEWAY_RAY="local", RUNNING_TEST_MARK=mark)
    running = Running(started, tmp_path_factory.mktemp("notes"), mark, "ray")
    eventually(lambda: running.health("small")["state"] == "ready" and running.health("large")["reason"])
    return running


def test_a_model_that_waits_for_a_gpu_says_so_and_the_others_answer(server: Running) -> None:
    eventually(lambda: server.health("large")["reason"] == "it waits for 1 GPU; the cluster has 0")
    assert server.health("several")["state"] == "starting"
    assert "a replica of the model on /large has not started: it waits for 1 GPU" in server.server.log
    assert told(server.ask("small"))["device"] == "cpu"


def test_every_process_of_the_cluster_listens_on_loopback_alone(server: Running) -> None:
    listening = dict(_listening(server))
    assert any("gcs_server" in command for command in listening.values())
    assert any("raylet" in command for command in listening.values())
    assert [address for address in listening if not _address(address).is_loopback] == []


def _listening(server: Running) -> Iterator[tuple[str, str]]:
    """Each address and port that a process of the server listens on, and its command."""
    for pid in server.family():
        inodes = _sockets(pid)
        for name in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENS and fields[9] in inodes:
                    yield fields[1], Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    links = map(_target, Path(f"/proc/{pid}/fd").iterdir())
    return {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:[")}


def _target(link: Path) -> str:
    with contextlib.suppress(FileNotFoundError):  # it was closed just now
        return str(link.readlink())
    return ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Of ``ADDRESS:PORT`` in /proc/net: words of four bytes in the machine's order."""
    data = bytes.fromhex(text.partition(":")[0])
    found = ipaddress.ip_address(b"".join(data[at : at + 4][::-1] for at in range(0, len(data), 4)))
    return getattr(found, "ipv4_mapped", None) or found


def test_a_client_without_the_clusters_token_is_refused(server: Running, variables: dict[str, str]) -> None:
    (head,) = server.family("/gcs_server")
    ports = [int(address.partition(":")[2], 16) for address, command in _listening(server) if "/gcs_server" in command]
    token = dict(line.partition("=")[::2] for line in Path(f"/proc/{head}/environ").read_text().split("\0"))
    for port in ports:
        asked = [
            _ask(port, variables | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token["RAY_AUTH_TOKEN"]}),
            _ask(port, variables | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}),
            _ask(port, variables | {"RAY_AUTH_MODE": "disabled"}),
        ]
        assert asked[0] == "1"
        assert all("AuthenticationError" in each for each in asked[1:])


def _ask(port: int, variables: dict[str, str]) -> str:
    """The last line of a client that asks the head for its nodes."""
    command = [sys.executable, "-c", CLIENT, f"127.0.0.1:{port}"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def test_sigterm_ends_a_server_whose_models_wait_for_a_gpu(server: Running) -> None:
    assert _ended(server) < CLOSE_SECONDS
    eventually(lambda: not server.family())


def test_replicas_follow_the_queue_between_their_bounds(
    serve: Serve, variables: dict[str, str], tmp_path: Path
) -> None:
    mark = uuid.uuid4().hex
    own = {"NOTES": str(tmp_path), "MODELS": "sleeps", "RUNNING_TEST_MARK": mark}
    own |= {"GATEWAY_RAY": "local", "GATEWAY_MAX_MODEL_PROCESSES": "2"}
    running = Running(serve("tests.apps.running:app", **variables, **own), tmp_path, mark, "ray")
    eventually(running.is_ready)
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(running.ask, "sleeps", {"until": "go"}) for _ in range(3)]
        eventually(lambda: len(set(running.noted("began"))) == 2)
        running.order("go")
        assert [one.result().status_code for one in asked] == [200] * 3
    assert running.is_ready()


def _ended(server: Running) -> float:
    """Seconds from SIGTERM to the end of the master; it would wait ``CLOSE_SECONDS`` for models, and then kill."""
    began = time.monotonic()
    os.kill(server.master, signal.SIGTERM)
    assert server.server.process.wait(2 * CLOSE_SECONDS) == 0
    return time.monotonic() - began


@pytest.mark.parametrize("listens", [False, True], ids=["nobody listens", "nobody answers"])
def test_a_cluster_that_is_not_reached_is_named_and_holds_up_no_end(
    serve: Serve, variables: dict[str, str], tmp_path: Path, listens: bool
) -> None:
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        if listens:
            head.listen()
        address, mark = f"127.0.0.1:{head.getsockname()[1]}", uuid.uuid4().hex
        started = serve("tests.apps.on_devices:app", **variables, GATEWAY_RAY=address, RUNNING_TEST_MARK=mark)
        running = Running(started, tmp_path, mark, "ray")
        eventually(lambda: running.family("gateway.executors.ray.bridge"))
        if not listens:
            eventually(lambda: f"the Ray cluster {address} is not reached" in running.health("small")["reason"])
        assert _ended(running) < CLOSE_SECONDS
        eventually(lambda: not running.family())
