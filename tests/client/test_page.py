"""The blocks of docs/client.md run one after the other, beside a gateway with a store."""

import os
import re
import subprocess
import sys
from pathlib import Path

from gateway.dicom.samples import phantom
from tests.conftest import Serve
from tests.house.pages import ROOT, blocks, commands

PAGE = ROOT / "docs/client.md"


def test_the_page_of_the_client_does_what_it_says(serve: Serve, tmp_path: Path) -> None:
    phantom.write(tmp_path / "study", slices=6, size=64)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "fold0.bin").write_bytes(b"weights")
    server = serve("models.app:app", GATEWAY_STORE_FOLDER=str(tmp_path / "kept"))
    environ = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    scripts = [[sys.executable, "-W", "error", "-c", block.text] for block in blocks(PAGE, "python")]
    lines = [re.sub("^python ", f"{sys.executable} ", line) for line in commands(PAGE)]
    for words in [*scripts, *(f"{line} --port {server.port}".split() for line in lines)]:
        told = [word.replace("127.0.0.1:8900", f"127.0.0.1:{server.port}") for word in words]
        ran = subprocess.run(told, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, f"{words}\n{ran.stdout}{ran.stderr}"
    assert (tmp_path / "answer" / "contact_sheet.png").exists()
