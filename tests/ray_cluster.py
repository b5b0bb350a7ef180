"""A Ray cluster of several nodes on this machine, each with a raylet of its own, as ``ray start`` has it."""

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.ports import free_port
from tests.waiting import PATIENCE, eventually

STARTED = "Ray runtime started"
TRIES = 5
HEAD = ["--include-dashboard", "false", "--system-config", '{"automatic_object_spilling_enabled":false}']
"""Options of a head as docs/ray.md has them: no object is written to a file."""
STORE = 1280 << 20
"""Bytes of the object store of each node."""


class RayCluster:
    """A head without processors, and nodes with three each; every node is a session of its own processes."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gateway-test-cluster-"))
        self.address = f"127.0.0.2:{free_port()}"
        self.variables = {
            **variables,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "120",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "2000",
            "RAY_health_check_failure_threshold": "3",
        }
        self._alive: set[subprocess.Popen[bytes]] = set()

    def start(self, count: int) -> None:
        """Start the head and so many nodes."""
        self.head = self.start_head()
        self.nodes = [self.start_node() for _ in range(count)]

    def start_head(self) -> "subprocess.Popen[bytes]":
        """Start the head, and wait until it answers."""
        self._hosts = itertools.count(2)
        return self._started("--head", "--port", self.address.partition(":")[2], "--num-cpus", "0")

    def start_node(self, cpus: int = 3, folder: Path | None = None, **variables: str) -> "subprocess.Popen[bytes]":
        """Add a node to the cluster, with variables of its own; it is there when this returns."""
        return self._started("--address", self.address, "--num-cpus", str(cpus), folder=folder, **variables)

    def _started(self, *options: str, folder: Path | None = None, **variables: str) -> "subprocess.Popen[bytes]":
        """Start a node; again where it did not come up in Ray's own time, as on a busy machine."""
        for _ in range(TRIES):
            before, node = self.log.count(STARTED), self._start(*options, folder=folder, **variables)
            eventually(
                lambda before=before, node=node: self.log.count(STARTED) > before or node.poll() is not None,
                2 * PATIENCE,  # Ray itself has as many as PATIENCE
            )
            if node.poll() is None:
                return node
            self.kill(node)
        raise AssertionError(self.log)

    def _start(self, *options: str, folder: Path | None, **variables: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        command += [*options, "--object-store-memory", str(STORE)]
        command += ["--node-ip-address", f"127.0.0.{next(self._hosts)}"]
        command += [*HEAD, "--temp-dir", str(self._folder)] if "--head" in options else []
        log = (self._folder / "start.log").open("ab")
        with log:
            environment = {**os.environ, **self.variables, **variables}
            node = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self._alive.add(node)
        return node

    @property
    def log(self) -> str:
        """What ``ray start`` printed."""
        log = self._folder / "start.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def kill(self, node: "subprocess.Popen[bytes]", number: int = signal.SIGKILL) -> None:
        """Send a signal to all processes of a node at once."""
        everywhere = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
        for pid in [pid for pid in everywhere if _session(pid) == node.pid]:  # replicas are process groups of their own
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGKILL:
            node.wait(PATIENCE)
            self._alive.discard(node)

    def close(self) -> None:
        """End every node, also one that has not come up; nothing of them is left."""
        for node in list(self._alive):
            self.kill(node)
        shutil.rmtree(self._folder, ignore_errors=True)


def _session(pid: int) -> int:
    """Return the session of a process; 0 where it has ended."""
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid)
    return 0


@contextlib.contextmanager
def cluster(variables: Mapping[str, str], count: int = 2) -> Iterator[RayCluster]:
    """Have a cluster within the block, with so many nodes to begin with, which have these variables."""
    found = RayCluster(variables)
    try:
        found.start(count)
        yield found
    finally:
        found.close()
