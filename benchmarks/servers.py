"""Real servers on free ports, each with a folder of its own for its log and its temporary files."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LISTENING = re.compile(r"Listening at: (?:http://)?127\.0\.0\.1:(\d+)")
START_SECONDS = 90
THREADS = 16
"""Threads of a worker, in every gateway that is compared."""


@dataclass(frozen=True)
class Server:
    """A running server: its port, its first process, the folder of its temporary files."""

    port: int
    pid: int
    temporary: Path

    def workers(self) -> list[int]:
        """Process ids of the workers; waits for the first to be forked."""
        children, deadline = Path(f"/proc/{self.pid}/task/{self.pid}/children"), time.monotonic() + 30
        while not (found := children.read_text().split()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return [int(pid) for pid in found]

    @property
    def worker(self) -> int:
        """Process id of the only worker."""
        (pid,) = self.workers()
        return pid


def ours(
    *, workers: int = 1, threads: int = THREADS, port: int = 0, app: str = "benchmarks.ours:app", **environment: str
) -> "Serving":
    """The gateway with default settings; ``environment`` has GATEWAY_* variables."""
    command = [sys.executable, "-m", "gateway", "serve", app, "--host", "127.0.0.1", "--port", str(port)]
    return run([*command, "--workers", str(workers), "--threads", str(threads)], environment)


def kept(routes: str, *, processes: int, **options: Any) -> "Serving":
    """The gateway with slow models, inside the workers or each in a number of processes."""
    return ours(app="benchmarks.kept:app", BENCH_ROUTES=routes, GATEWAY_MODEL_PROCESSES=str(processes), **options)


def plain(*, workers: int = 1, app: str = "benchmarks.plain:app", **environment: str) -> "Serving":
    """The plain gateway under gunicorn, set up as gunicorn's manual recommends."""
    command = [sys.executable, "-m", "gunicorn", app, "--bind", "127.0.0.1:0", "-k", "gthread"]
    command += ["--threads", str(THREADS), "--workers", str(workers), "--timeout", "900", "--keep-alive", "5"]
    return run([*command, "--no-control-socket", "--worker-tmp-dir", "/dev/shm"], environment)


def constant() -> "Serving":
    """A Flask view that returns a constant, under the gateway's own server settings."""
    return ours(app="benchmarks.constant:app")


Serving = contextlib.AbstractContextManager[Server]


@contextlib.contextmanager
def run(
    command: Sequence[str], environment: Mapping[str, str] | None = None, *, cwd: Path = ROOT, port: int = 0
) -> Iterator[Server]:
    """Run a server while the block lasts; without a known ``port`` it is one that prints its address.

    Raises RuntimeError with the end of its log when it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        temporary = folder / "tmp"
        temporary.mkdir()
        extra = {"PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **extra, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Server(port or _port(process, folder / "log"), process.pid, temporary)
        finally:
            stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server and all its children."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(15)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if found := LISTENING.search(log.read_text(errors="replace")):
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(f"a server did not start:\n{log.read_text(errors='replace')[-2000:]}")
