"""``make demo`` ends with pictures, and leaves no process, however it ends."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.require import require
from tests.waiting import PATIENCE, eventually

DEMO = [sys.executable, "demo.py"]
PACS_DEMO = [sys.executable, "pacs_demo.py"]


def processes_naming(folder: Path) -> list[str]:
    """Command lines of running processes with their output in ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "fd/1").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_the_demo_ends_with_the_paths_of_its_contact_sheets(tmp_path: Path) -> None:
    ran = subprocess.run([*DEMO, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    sheets = ran.stdout.partition("Look at these:\n")[2].splitlines()
    assert len(sheets) == 5
    assert all(Path(sheet).stat().st_size > 10_000 for sheet in sheets)
    assert processes_naming(tmp_path) == []


@pytest.mark.slow
def test_a_demo_that_is_ended_takes_its_server_along(tmp_path: Path) -> None:
    demo = subprocess.Popen([*DEMO, tmp_path], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "server.log"
    eventually(lambda: log.exists() and "Booting worker" in log.read_text())
    assert processes_naming(tmp_path) != []
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(PATIENCE) == 128 + signal.SIGTERM
    assert processes_naming(tmp_path) == []


@pytest.mark.slow
def test_a_demo_whose_server_does_not_start_names_the_log(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    environment = os.environ | {"GATEWAY_MAX_PARTS": "many"}
    ran = subprocess.run([*DEMO, tmp_path], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 1
    assert f"The server did not start; see {tmp_path / 'server.log'}" in ran.stderr
    assert processes_naming(tmp_path) == []


@pytest.mark.slow
def test_the_pacs_demo_ends_with_pictures_of_what_orthanc_holds(tmp_path: Path) -> None:
    require(shutil.which("Orthanc") and shutil.which("storescu"), "the demo needs Debian's orthanc and dcmtk")
    ran = subprocess.run([*PACS_DEMO, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    paths = [Path(line) for line in ran.stdout.partition("Look at these:\n")[2].splitlines()]
    assert [path.name for path in paths[:3]] == ["contact_sheet.png", "seg_0.dcm", "seg_1.dcm"]
    assert all(path.stat().st_size for path in paths)
    assert "to orthanc</span>" in (tmp_path / "operator.html").read_text(encoding="utf-8")
    assert processes_naming(tmp_path) == []


@pytest.mark.slow
def test_the_pacs_demo_is_skipped_in_one_sentence_where_orthanc_is_missing(tmp_path: Path) -> None:
    environ = os.environ | {"PATH": str(tmp_path)}
    ran = subprocess.run([*PACS_DEMO, tmp_path / "out"], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(ran.stdout.splitlines()) == 1 and "Orthanc and storescu" in ran.stdout
    assert not (tmp_path / "out").exists()
