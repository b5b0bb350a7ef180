"""A server that would not serve ends before its first request, with one line that says why."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.access.certificates import Authority, named
from tests.commands import Command, command
from tests.conftest import ROOT, Serve
from tests.waiting import PATIENCE, eventually


def refused(*words: object, folder: Path = ROOT, program: str = "gateway", **environment: str) -> str:
    """The one line in which a server that does not start says why."""
    environ = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PORT": "0", **environment}
    if program == "gateway":
        ran = command("serve", *words, folder=folder, environ=environ)
    else:
        line = [sys.executable, "-m", program, *map(str, words)]
        ran = subprocess.run(line, cwd=folder, env=environ, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode not in (0, 2), ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Booting worker" not in ran.stderr or "cannot start" in ran.stderr
    return ran.stderr


@pytest.mark.parametrize("program", ["gateway", "gunicorn"])
def test_a_folder_of_large_requests_that_cannot_be_written(program: str, tmp_path: Path) -> None:
    words = ["-c", "python:gateway.gunicorn_conf", "--bind", "127.0.0.1:0"] if program == "gunicorn" else []
    told = refused(*words, "tests.apps.guarded:app", program=program, GATEWAY_SPOOL_FOLDER=str(tmp_path / "absent"))
    (line,) = [line for line in told.splitlines() if "cannot start" in line]
    assert "GATEWAY_SPOOL_FOLDER" in line
    assert str(tmp_path / "absent") in line


@pytest.mark.parametrize("variable", ["GATEWAY_STORE_FOLDER", "GATEWAY_AUDIT_FILE"])
def test_a_store_or_an_audit_that_cannot_be_written(variable: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = refused("tests.apps.guarded:app", **{variable: str(tmp_path / "file" / "inside")})
    (line,) = [line for line in told.splitlines() if "cannot start" in line]
    assert str(tmp_path / "file") in line


@pytest.mark.parametrize("keys", ["no key", "another key", "no certificate", "not PEM"])
def test_a_certificate_that_would_fail_each_connection(keys: str, tmp_path: Path) -> None:
    both = Authority(tmp_path).sign(named(CN="server"), "server.pem")
    foreign = Authority(tmp_path).sign(named(CN="server"), "foreign.pem")
    certificate, text = tmp_path / "certificate.pem", tmp_path / "text.pem"
    certificate.write_text("-----BEGIN CERT" + both.read_text().partition("-----BEGIN CERT")[2])
    text.write_text("not PEM")
    words = {
        "no key": ["--certfile", certificate],
        "another key": ["--certfile", certificate, "--keyfile", foreign],
        "no certificate": ["--keyfile", both],
        "not PEM": ["--certfile", text, "--keyfile", both],
    }[keys]
    lines = refused("tests.apps.guarded:app", *words).splitlines()
    assert any("key" in line and ("certificate" in line or "certfile" in line) for line in lines)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        told = refused("tests.apps.guarded:app", "--port", taken.getsockname()[1])
    assert told.startswith("error: 127.0.0.1, port ")
    assert told.count("\n") == 1
    assert "ss -ltnp" in told


FAULTY = {
    "import no_such_package": "1: ModuleNotFoundError: No module named 'no_such_package'",
    "\nx = 1 / 0": "2: ZeroDivisionError: division by zero",
    "def m(:": "1: SyntaxError: invalid syntax",
    "import sys\nsys.exit(3)": "2: SystemExit: 3",
    "from gateway import *\napp = Gateway('x')\n@app.model('/')\ndef m(ct: Volume) -> list: ...": "3: TypeError: m: it",
}
"""Modules, and what of them the line says after the name of the file."""


PLACES = [("gateway", source) for source in FAULTY] + [("gunicorn", "import no_such_package")]


@pytest.mark.parametrize(
    ("program", "source"), PLACES, ids=[f"{program} {FAULTY[text][3:9]}" for program, text in PLACES]
)
def test_an_application_that_cannot_be_imported(program: str, source: str, tmp_path: Path) -> None:
    (tmp_path / "tissue.py").write_text(source)
    words = ["-c", "python:gateway.gunicorn_conf", "--bind", "127.0.0.1:0"] if program == "gunicorn" else ["--port", 0]
    told = refused(*words, "tissue:app", program=program, folder=tmp_path)
    (line,) = [line for line in told.splitlines() if "cannot start" in line]
    assert f"cannot start: tissue.py:{FAULTY[source]}" in line


def test_an_application_without_a_model_is_reported(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("from gateway import Gateway\napp = Gateway(__name__)\n")
    server = serve("empty:app", "--workers", "2", pythonpath=tmp_path)
    assert eventually(lambda: server.log.count("has no model")) == 1


@pytest.mark.parametrize("target", ["tissue:bright", "tissue.py", "./tissue:bright", "tissue"])
def test_serve_takes_what_run_takes(target: str, tmp_path: Path) -> None:
    (tmp_path / "tissue.py").write_text("from gateway import Mask, Volume\ndef bright(ct: Volume) -> Mask: ...\n")
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    log = tmp_path / "log"
    log.touch()
    process = Command(["serve", target, "--port", "0"], tmp_path, environ, [log])
    try:
        listening = eventually(lambda: re.search(r"http://127.0.0.1:\d+", log.read_text()))
        paths = requests.get(f"{listening[0]}/openapi.json", timeout=PATIENCE).json()["paths"]
        assert "/" in paths
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
