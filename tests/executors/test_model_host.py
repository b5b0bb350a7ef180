"""A model process by itself, without the server that starts it."""

import os
import subprocess
import sys
from pathlib import Path

from gateway.executors.messages import pair
from tests.commands import ROOT
from tests.waiting import PATIENCE, eventually


def test_a_model_process_whose_server_has_gone_ends_without_a_word(tmp_path: Path) -> None:
    """It has no traceback to tell, of a pipe that is broken."""
    ours, theirs = pair()
    environ = os.environ | {"NOTES": str(tmp_path), "MODELS": "slow", "PYTHONPATH": str(ROOT)}
    words = [
        sys.executable,
        "-m",
        "gateway.executors.host",
        str(theirs.fileno()),
        "tests.apps.running:app",
        "",
        "/slow",
    ]
    with subprocess.Popen(words, pass_fds=[theirs.fileno()], env=environ, stderr=subprocess.PIPE, text=True) as process:
        theirs.close()
        eventually((tmp_path / "begun").exists)
        (tmp_path / "broken").write_text("The weights are missing.")
        ours.close()
        (tmp_path / "go").write_text("now")
        told = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1
    assert "The weights are missing." in told
    assert "BrokenPipe" not in told
