"""The processes below a server, and its readiness."""

import contextlib
import time
from pathlib import Path

import requests

from tests.conftest import Server


def below(pid: int, module: str = "") -> list[int]:
    """All processes below ``pid``, or those of them that run ``python -m module``."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return [one for one in found[1:] if not module or module in _words(one)]


def _words(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def wait_until_ready(server: Server, seconds: float = 60.0) -> None:
    """Wait for ``/readyz`` to be 200."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = requests.get(f"{server.url}/readyz", timeout=10)
        if answer.status_code == 200:
            return
        time.sleep(0.05)
    raise AssertionError(f"not ready: {answer.text}\n{server.log}")
