"""The command line itself: its help, its exit statuses, and the verbs beside ``send``."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

import gateway
from tests.cli.conftest import Run
from tests.conftest import ROOT, Serve
from tests.ports import free_port
from tests.waiting import PATIENCE, eventually


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version").out == f"gateway {gateway.__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["send", "--help"], ["serve", "--help"]])
def test_help_shows_examples(run: Run, words: list[str]) -> None:
    ran = run(*words)
    assert ran.status == 0
    assert "examples:\n  python -m gateway " in ran.out


def test_the_exit_statuses_are_documented(run: Run) -> None:
    assert "1 refused or failed, 2 wrong usage, 3 no connection, 130 interrupted" in run("--help").out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["serve"],
        ["phantom"],
        ["send"],
        ["send", "-i", "x", "-p", "a"],
        ["send", "-i", "x", "-p", "65536"],
        ["send", "-i", "x", "-R", "no-value"],
        ["send", "-i", "x", "-R", "=value"],
        ["send", "-i", "x", "--timeout", "0"],
        ["send", "-i", "x", "--outp", "abbreviated"],
        ["serve", "x:app", "--workers", "-1"],
        ["serve", "x:app", "--model-processes", "-1"],
    ],
)
def test_wrong_usage_ends_with_status_2_and_a_reason(run: Run, words: list[str]) -> None:
    ran = run(*words)
    assert ran.status == 2
    assert "usage: " in ran.err


def test_a_phantom_is_written_and_reported(run: Run, tmp_path: Path) -> None:
    ran = run("phantom", tmp_path / "study")
    assert ran.out.startswith("64 slices in ")
    assert len(list((tmp_path / "study").iterdir())) == 64


def test_a_phantom_where_nothing_can_be_written_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run("phantom", tmp_path / "file")
    assert ran.status == 1
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let child processes react to SIGINT: a shell without job control starts background commands that ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_quietly_with_status_130(tmp_path: Path, study: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port = str(deaf.getsockname()[1])
        words = [sys.executable, "-m", "gateway", "send", "-i", str(study), "-o", str(tmp_path / "out"), "-p", port]
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        connection, _ = deaf.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err


def test_serve_takes_its_port_from_the_environment_and_ends_on_sigterm(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("import gateway\napp = gateway.Gateway(__name__)\n")
    port = free_port()
    words = [sys.executable, "-c", "import gateway.cli, sys; sys.exit(gateway.cli.main(['serve', 'service:app']))"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PORT": str(port), "THREADS": "4", "WEB_CONCURRENCY": "1"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        eventually(lambda: "Booting worker" in (tmp_path / "log").read_text() or process.poll() is not None)
        assert requests.get(f"http://127.0.0.1:{port}/healthcheck", timeout=PATIENCE).text == "READY"
    finally:
        process.terminate()
        status = process.wait(PATIENCE)
    assert status == 0
    assert {path.name for path in tmp_path.iterdir()} <= {"service.py", "log", "__pycache__"}


def test_workers_do_not_carry_the_client_around(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "loaded.py").write_text(
        "import sys, gateway\n"
        "app = gateway.Gateway(__name__)\n"
        "found = lambda: ' '.join({'gateway.client', 'rich'} & set(sys.modules)) or 'neither'\n"
        "app.add_healthcheck_route(found)\n"
    )
    server = serve("loaded:app", pythonpath=tmp_path, cold=True)
    assert requests.get(f"{server.url}/healthcheck", timeout=PATIENCE).text == "neither"
