"""The blocks of docs/client.md run one after the other, beside a gateway with a store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.dicom.samples import phantom
from tests.commands import command
from tests.conftest import Serve
from tests.house.pages import ROOT, blocks, commands
from tests.waiting import PATIENCE

PAGE = ROOT / "docs/client.md"
GATEWAY = "python -m gateway "


@pytest.mark.slow
def test_the_page_of_the_client_does_what_it_says(serve: Serve, tmp_path: Path) -> None:
    phantom.write(tmp_path / "study", slices=6, size=64)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "fold0.bin").write_bytes(b"weights")
    server = serve("models.app:app", GATEWAY_STORE_FOLDER=str(tmp_path / "kept"))
    environ = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for block in blocks(PAGE, "python"):
        script = block.text.replace("127.0.0.1:8900", f"127.0.0.1:{server.port}")
        words = [sys.executable, "-W", "error", "-c", script]
        ran = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=PATIENCE)
        assert ran.returncode == 0, f"{script}\n{ran.stdout}{ran.stderr}"
    for line in commands(PAGE):
        assert line.startswith(GATEWAY)
        ran = command(*line.removeprefix(GATEWAY).split(), "--port", server.port, folder=tmp_path, environ=environ)
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
    assert (tmp_path / "answer" / "contact_sheet.png").exists()
