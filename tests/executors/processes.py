"""The processes below a server, and its readiness."""

import contextlib
from pathlib import Path

import requests

from tests.conftest import Server
from tests.waiting import PATIENCE, eventually


def below(pid: int, module: str = "") -> list[int]:
    """All processes below ``pid``, or those of them that run ``python -m module``."""
    pids = [pid]
    for parent in pids:
        with contextlib.suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                pids += map(int, children.read_text().split())
    return [descendant for descendant in pids[1:] if not module or module in _words(descendant)]


def _words(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def wait_until_ready(server: Server) -> None:
    """Wait for ``/readyz`` to be 200."""
    eventually(lambda: requests.get(f"{server.url}/readyz", timeout=PATIENCE).status_code == 200)
