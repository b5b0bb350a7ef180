"""Show the gateway in one command: write a study, serve the models, send the study to each, picture the answers.

usage: python demo.py [OUT]    (default: demo-output)
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.cli import main as gateway
from gateway.cli.terminal import Terminal
from gateway.client import Client, ClientError

ROOT = Path(__file__).resolve().parent
ROUTES = ("segmentation-3d", "segmentation-2d", "bounding-boxes", "classification", "secondary-capture")
PAGE = ".venv/bin/python -m gateway serve models.app:app"
START_SECONDS = 60
LISTENING = re.compile(r"Listening at: (http://\S+)")


def main(out: Path) -> None:
    """Fill ``out`` with the study and a folder for each model's answer. Raises SystemExit if a step fails."""
    study, log = out / "study", out / "server.log"
    _do("phantom", str(study))
    with served("models.app:app", log) as url:
        for route in ROUTES:
            _do("send", "-i", str(study), "-o", str(out / route), "--host", url, "-r", f"/{route}", "-l")
    screen = Terminal()
    screen.say("Look at these:")
    for route in ROUTES:
        screen.say(str((out / route / "contact_sheet.png").resolve()))
    screen.note(f"Or run {PAGE} and drop {study.resolve()} on http://127.0.0.1:8900/ui/.")


@contextmanager
def served(app: str, log: Path) -> Iterator[str]:
    """Run gunicorn on a free port while the block lasts; yield its URL."""
    command = [sys.executable, "-m", "gateway", "serve", app, "--host", "127.0.0.1", "--port", "0"]
    with started(command, log, dict(os.environ)) as server:
        yield url_of(server, log)


@contextmanager
def started(command: list[str], log: Path, environ: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program while the block lasts, its output in ``log``."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        _stop(process)


def _do(*words: str) -> None:
    """Print and run a command of ``python -m gateway``."""
    Terminal().note(" ".join(("$ python -m gateway", *words)))
    if status := gateway(words):
        raise SystemExit(status)


def url_of(server: "subprocess.Popen[bytes]", log: Path) -> str:
    """Wait until the models are ready and return the server's URL. Raises SystemExit."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        found = LISTENING.search(log.read_text("utf-8", "replace"))
        if found and _ready(found[1]):
            return found[1]
        time.sleep(0.1)
    raise SystemExit(f"The server did not start; see {log}.")


def _ready(url: str) -> bool:
    try:
        with Client(url, timeout=START_SECONDS) as client:
            return client.health() == "READY"
    except ClientError:
        return False


def _stop(server: "subprocess.Popen[bytes]") -> None:
    """Stop the server, by force if it does not end."""
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the server is stopped then too
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output"))
