"""The README is true: its model answers, and its commands run one after the other."""

import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import command
from tests.conftest import Serve
from tests.house.pages import ROOT, blocks, commands, rows
from tests.ports import free_port
from tests.require import require

README = ROOT / "README.md"
PICTURE = ROOT / "docs/images/contact-sheet.png"
INSTALLING = ("make ", "pip ", "python3 -m venv ", ". ", "docker ")
"""How the lines begin that prepare an environment, which a test of the fast tiers has already."""
GATEWAY = "python -m gateway "
SERVING = "python -m gateway serve tissue:app &"


@pytest.fixture
def tissue(tmp_path: Path) -> Path:
    """The folder of a reader who saved the README's model as tissue.py."""
    (tmp_path / "tissue.py").write_text(blocks(README, "python")[0].text, encoding="utf-8")
    return tmp_path


def test_the_model_of_the_readme_answers_with_a_mask(tissue: Path) -> None:
    import pydicom

    image = Path(pydicom.__file__).parent / "data/test_files/CT_small.dcm"
    module = runpy.run_path(str(tissue / "tissue.py"))
    body = b"--b\r\n\r\n{}\r\n--b\r\n\r\n" + image.read_bytes() + b"\r\n--b--\r\n"
    answer = module["app"].test_client().post("/", data=body, content_type="multipart/related; boundary=b")
    assert answer.status_code == 200
    assert answer.data.count(b'filename="elem_') == 1


@pytest.mark.slow
def test_the_commands_of_the_readme_run_one_after_the_other(tissue: Path, serve: Serve) -> None:
    require(shutil.which("curl"), "the README's commands need curl")
    lines = [line for line in commands(README) if not line.startswith(INSTALLING)]
    assert [line for line in lines if " serve " in line] == [SERVING]
    server = serve("tissue:app", pythonpath=tissue)
    for line in lines:
        if line != SERVING:
            run(_at_port(line, server.port), tissue)
    (tissue / "ask.py").write_text(_at_port(_client(), server.port), encoding="utf-8")
    assert run("python ask.py", tissue).startswith("bright (")
    check_written(tissue)


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_one_shell_of_a_fresh_checkout(tmp_path: Path) -> None:
    require(shutil.which("curl"), "the README's commands need curl")
    checkout, port = tmp_path / "checkout", free_port()
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info"))
    (checkout / "tissue.py").write_text(blocks(README, "python")[0].text, encoding="utf-8")
    (checkout / "ask.py").write_text(_at_port(_client(), port), encoding="utf-8")
    lines = [line for line in commands(README) if not line.startswith(("make ", "docker "))]
    script = "\n".join(["set -e", *(_at_port(line, port) for line in lines), "python ask.py", "kill %1", "wait"])
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    ran = subprocess.run(["bash", "-c", script], cwd=checkout, env=environ, capture_output=True, text=True)
    require("No matching distribution" not in ran.stderr, "`pip install .` needs a package index, and none is reached")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    check_written(checkout)


def check_written(folder: Path) -> None:
    """The answers that the README describes lie in ``folder``."""
    made = {path.suffix for path in (folder / "answer").rglob("*")}
    assert made >= {".json", ".npy", ".png"}
    assert (folder / "objects" / "seg_0.dcm").is_file()
    assert b'filename="hashes"' in (folder / "answer.bin").read_bytes()


def _client() -> str:
    return next(block.text for block in blocks(README, "python") if "Client(" in block.text)


def _at_port(line: str, port: int) -> str:
    line = line.replace("127.0.0.1:8900", f"127.0.0.1:{port}")
    return re.sub(r"-m gateway (send|serve)", rf"-m gateway \1 --port {port}", line)


def run(line: str, folder: Path) -> str:
    """Run one line of the README; return its output. ``python`` is the interpreter of this test.

    The slow tier runs all lines in one shell.
    """
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    if line.startswith(GATEWAY):
        ran = command(*shlex.split(line.removeprefix(GATEWAY)), folder=folder, environ=environ)
    else:
        words = re.sub(r"^python ", f"{sys.executable} ", line)
        ran = subprocess.run(["sh", "-c", words], cwd=folder, env=environ, capture_output=True, text=True)
    assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def test_the_two_commands_at_the_top_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [line.split()[1] for line in commands(README) if line.startswith("make ")]
    assert targets == ["demo", "test"]
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_the_table_of_models_is_what_the_models_serve() -> None:
    from models.app import app

    documented = {route.strip("`") for route, _ in rows(README, "route | model")}
    served = {rule.rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    assert documented == served - {"/ping", "/healthcheck"}


def test_each_row_of_the_costs_is_a_row_of_the_whole_table() -> None:
    shown, whole = rows(README, "work"), rows(ROOT / "docs/benchmarks.md", "work")
    assert len(shown) == 4
    assert [row for row in shown if row not in whole] == []


def test_the_picture_is_a_picture_and_not_a_heavy_one() -> None:
    from PIL import Image

    assert PICTURE.stat().st_size < 400_000
    with Image.open(io.BytesIO(PICTURE.read_bytes())) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) >= 300
