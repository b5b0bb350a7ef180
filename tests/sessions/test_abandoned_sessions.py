"""Sessions that are opened and abandoned leave nothing behind."""

from pathlib import Path

import pytest
import requests

from gateway import Client
from tests.conftest import Serve
from tests.executors.processes import below, wait_until_ready
from tests.waiting import PATIENCE, eventually

Study = list[Path]


def held(pid: int) -> tuple[int, int, int]:
    """Bytes that are not of files, open files and threads of a process."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    anonymous = sum(int(status[name].split()[0]) for name in ("RssAnon", "RssShmem"))
    return anonymous << 10, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()), int(status["Threads"])


@pytest.mark.slow
@pytest.mark.parametrize("processes", [0, 1])
def test_abandoned_sessions_leave_no_memory_files_or_threads(serve: Serve, study: Study, processes: int) -> None:
    server = serve(
        "tests.apps.clicking:app",
        *("--model-processes", str(processes)),
        MODELS="/region-growing",
        GATEWAY_SESSION_IDLE="0.2",
        GATEWAY_SESSION_CALLER_MAX="8",
    )
    wait_until_ready(server)
    worker = next(pid for pid in below(server.process.pid) if not _of_models(pid))

    def open_some(count: int) -> None:
        with Client(server.url, retries=60) as one:
            for number in range(count):
                eventually(lambda: _count(server.url) < 8)
                session = one.session(study, "/region-growing")
                for _ in range(number % 3):
                    session.click((4, 16, 16)).undo()
        eventually(lambda: _count(server.url) == 0)

    open_some(20)
    before = eventually(lambda: held(worker))
    open_some(50)
    eventually(lambda: held(worker)[1] <= before[1] + 2 and held(worker)[2] <= before[2] + 2)
    assert held(worker)[0] < before[0] + (24 << 20)


def _count(url: str) -> int:
    lines = requests.get(f"{url}/metrics", timeout=PATIENCE).text.splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("gateway_sessions ")))


def _of_models(pid: int) -> bool:
    """True for the supervisor and the process of a model."""
    return "gateway.executors" in Path(f"/proc/{pid}/cmdline").read_text()
