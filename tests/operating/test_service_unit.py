"""The unit of systemd is well-formed and hardened, and its command tells systemd when it is ready."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from select import select

import pytest

from gateway.doctor import variables
from gateway.doctor.diagnoses import Level
from gateway.doctor.plan import Plan
from gateway.server.master import DEFAULTS
from tests.house.pages import ROOT, blocks
from tests.operating.page_commands import section
from tests.require import require
from tests.waiting import eventually

UNIT = ROOT / "docs" / "gateway.service"
PYTHON = "/opt/gateway/venv/bin/python"
MISSING = "the check of the unit needs systemd-analyze, from Debian's systemd"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with the interpreter of the tests, since systemd-analyze looks for the program."""
    text = UNIT.read_text(encoding="utf-8")
    assert PYTHON in text
    path = tmp_path / UNIT.name
    path.write_text(text.replace(PYTHON, sys.executable))
    return path


def setting(name: str) -> str:
    (line,) = [line for line in UNIT.read_text(encoding="utf-8").splitlines() if line.startswith(f"{name}=")]
    return line.removeprefix(f"{name}=")


def test_systemd_finds_nothing_wrong_with_the_unit_and_it_is_as_hardened_as_the_page_says(unit: Path) -> None:
    require(shutil.which("systemd-analyze"), MISSING)
    commands = [line for block in section("systemd.md", "What the unit permits") for line in block]
    assert len(commands) == 2
    for command in commands:
        words = shlex.split(command.replace(f"/etc/systemd/system/{UNIT.name}", str(unit)))
        ran = subprocess.run(words, capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout


def test_a_stop_waits_for_as_long_as_the_gateway_may_take() -> None:
    plan = Plan.read({}, DEFAULTS)
    stop = plan.settings.drain_delay + plan.graceful_timeout
    assert stop < int(setting("TimeoutStopSec")) < stop + 60


def test_the_settings_of_the_page_are_settings_of_the_gateway() -> None:
    (block,) = blocks(ROOT / "docs" / "systemd.md", "ini")
    environment = dict(line.split("=", 1) for line in block.text.splitlines())
    assert variables.settings(environment).level == Level.OK
    assert variables.unknown(Plan.read(environment, DEFAULTS), environment).level == Level.OK


@pytest.mark.slow
def test_its_command_tells_systemd_that_it_is_ready(tmp_path: Path) -> None:
    address, log = tmp_path / "notify", tmp_path / "log"
    command = shlex.split(setting("ExecStart").replace(PYTHON, sys.executable))
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("GATEWAY_")}
    environment = inherited | {"NOTIFY_SOCKET": str(address), "PYTHONPATH": str(ROOT), "PORT": "0"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, log.open("wb") as output:
        notified.bind(str(address))
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output) as server:
            try:
                eventually(lambda: select([notified], [], [], 0)[0] or server.poll() is not None)
                assert server.poll() is None, log.read_text()
                assert notified.recv(4096).startswith(b"READY=1")
            finally:
                server.terminate()
