"""logrotate with docs/logrotate.conf on a serving gateway: the log and the audit continue in new files."""

import getpass
import grp
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.house.pages import ROOT, blocks
from tests.operating.page_commands import run, section
from tests.require import require
from tests.studies.asking import Asking
from tests.waiting import eventually

CONFIGURATION = ROOT / "docs" / "logrotate.conf"
LOGROTATE = shutil.which("logrotate", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    made = {
        name: tmp_path / name.strip("/").replace("/", "_") for name in ("/var/lib/gateway/audit", "/var/log/gateway")
    }
    for folder in made.values():
        folder.mkdir(mode=0o700)
    return made


def replaced(text: str, folders: dict[str, Path]) -> str:
    for name, folder in folders.items():
        assert name in text
        text = text.replace(name, str(folder))
    return text


def rotate(folder: Path, folders: dict[str, Path]) -> None:
    text = replaced(CONFIGURATION.read_text(encoding="utf-8"), folders)
    owner = f"su {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}"
    (folder / "logrotate.conf").write_text(text.replace("su gateway gateway", owner))
    command = [str(LOGROTATE), "--force", "--state", str(folder / "state"), str(folder / "logrotate.conf")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def infer(asking: Asking) -> str:
    """Send a request that is refused and audited; its id."""
    response = asking.ask("POST", "/segmentation-2d", data=b"nothing", headers={"Content-Type": "text/plain"})
    assert response.status_code == 415
    return response.headers["X-Request-ID"]


def test_log_and_audit_continue_in_new_files_without_a_signal(
    folders: dict[str, Path], serve: Serve, tmp_path: Path
) -> None:
    require(LOGROTATE, "the rotation needs Debian's package logrotate")
    audit, logs = folders.values()
    (block,) = blocks(ROOT / "docs" / "systemd.md", "python")
    service = replaced(block.text, {"/var/log/gateway": logs}) + "\nfrom models.app import app\n"
    (tmp_path / "rotated.py").write_text(service)
    server = serve("rotated:app", pythonpath=tmp_path, GATEWAY_AUDIT_FILE=str(audit / "audit.jsonl"))
    asking = Asking(server.url)
    eventually(lambda: asking.ask("GET", "/readyz").status_code == 200)

    log = logs / "gateway.log"
    before = infer(asking)
    eventually(lambda: before in log.read_text())
    rotate(tmp_path, folders)
    after = infer(asking)
    eventually(lambda: log.exists() and after in log.read_text())
    assert before not in log.read_text()
    assert before in (logs / "gateway.log.1").read_text()

    eventually(lambda: (audit / "audit.jsonl").exists())
    (verify,) = section("systemd.md", "Logs and their rotation")
    output = run(verify, {"/var/lib/gateway/audit": audit})
    assert "records 2" in output
    assert "verdict whole" in output
