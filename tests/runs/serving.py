"""Real servers of runs, and a process beside them that submits and reads without executing anything."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import Serve, Server
from tests.runs.conftest import Bench
from tests.waiting import eventually

APP = "tests.apps.durable:app"
LEASE = 2.0
"""Seconds; a dead process costs a test about as many."""


def variables(bench: Bench, **more: str) -> dict[str, str]:
    """The settings of a server that shares the store of ``bench``."""
    return {
        "GATEWAY_STORE_FOLDER": str(bench.settings.store_folder),
        "GATEWAY_DATABASE_URL": bench.settings.database_url,
        "GATEWAY_RUN_LEASE": str(LEASE),
        "TEST_NOTES": str(bench.notes),
        **more,
    }


Start = Callable[..., Server]
"""Starts a server on the store of a bench, with its options and further variables."""


@pytest.fixture
def start_server(serve: Serve) -> Iterator[Start]:
    """Start servers of two workers, unless the options say otherwise; they are stopped with the test."""
    servers: list[Server] = []

    def start(bench: Bench, *options: str, **more: str) -> Server:
        servers.append(serve(APP, *(options or ("--workers", "2")), **variables(bench, **more)))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def kill(pid: int) -> None:
    """End a process by signal 9, and wait until it has gone."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    """Return True for a process that runs; one that awaits its parent does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def kill_all(server: Server) -> None:
    """End a server and its processes by signal 9."""
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


@contextmanager
def killed_again_and_again(start: Callable[[], Server], seconds: float) -> Iterator[list[Server]]:
    """A server that is killed after so many seconds and started again, until the block ends."""
    over, servers = threading.Event(), [start()]

    def reap() -> None:
        while not over.wait(seconds):
            kill_all(servers[-1])
            servers.append(start())

    thread = threading.Thread(target=reap)
    thread.start()
    try:
        yield servers
    finally:
        over.set()
        thread.join()
