"""The examples of docs/other-bodies.md run as they stand, unmodified clients among them."""

import json
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from gateway.dicom.samples import phantom
from tests.conftest import Serve, Server
from tests.endpoints.browser import CHROMIUM, Page, browsing
from tests.house.pages import ROOT, blocks, commands
from tests.require import require
from tests.waiting import PATIENCE, eventually

PAGE = ROOT / "docs/other-bodies.md"
LABELS = ["Body", "Tissue"]
NEEDED = ("curl", "zip", "node")


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("models.app:app")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bodies")
    phantom.write(folder / "study", slices=4, size=64)
    return folder


def run(command: list[str], folder: Path) -> str:
    if command[0] in NEEDED:
        require(shutil.which(command[0]), f"{command[0]} is not installed")
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def at_server(text: str, server: Server) -> str:
    return text.replace("127.0.0.1:8900", f"127.0.0.1:{server.port}")


@pytest.mark.parametrize("number", range(len(blocks(PAGE, "python"))))
def test_the_programs_in_python_list_what_was_found(number: int, server: Server, folder: Path) -> None:
    text = at_server(blocks(PAGE, "python")[number].text, server)
    assert run([sys.executable, "-c", text], folder) == f"{LABELS}\n"


def test_the_program_for_node_lists_what_was_found(server: Server, folder: Path) -> None:
    (program,) = blocks(PAGE, "javascript")
    assert run(["node", "-e", at_server(program.text, server)], folder) == "[ 'Body', 'Tissue' ]\n"


@pytest.mark.parametrize("number", range(len(commands(PAGE))))
def test_the_commands_write_an_answer(number: int, server: Server, folder: Path) -> None:
    for program in ("curl", "zip"):
        require(shutil.which(program), f"{program} is not installed")
    command = at_server(commands(PAGE)[number], server)
    run(["sh", "-c", command], folder)
    answer = folder / shlex.split(command)[shlex.split(command).index("-o") + 1]
    if answer.suffix == ".png":
        assert answer.read_bytes().startswith(b"\x89PNG")
    else:
        with zipfile.ZipFile(answer) as archive:
            assert [part["label"] for part in json.loads(archive.read("response.json"))["parts"]] == LABELS
    answer.unlink()


def test_forms_of_other_origins_pages_are_refused(server: Server, folder: Path) -> None:
    (first, *_) = sorted((folder / "study").iterdir())

    def status(**headers: str) -> int:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        url, files = f"{server.url}/segmentation-2d", {"file": first.open("rb")}
        with files["file"]:
            return requests.post(url, files=files, headers=names, timeout=PATIENCE).status_code

    assert status() == status(Origin=server.url) == status(Sec_Fetch_Site="same-origin") == 200
    assert status(Origin="https://evil.example") == status(Sec_Fetch_Site="cross-site") == 403


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    require(CHROMIUM, "chromium is not installed")
    with browsing(tmp_path / "profile") as page:
        yield page


@pytest.mark.slow
def test_the_form_of_a_page_saves_the_answer(page: Page, server: Server, folder: Path, tmp_path: Path) -> None:
    (form,) = blocks(PAGE, "html")
    page.save_downloads(tmp_path)
    page.go(f"{server.url}/docs")
    page.wait("#model", "/segmentation-3d")
    page.run(f"document.body.innerHTML = {json.dumps(form.text)}")
    page.choose("input[type=file]", sorted((folder / "study").iterdir()))
    page.run("document.querySelector('button').click()")

    def saved() -> bytes:
        files = [path for path in tmp_path.iterdir() if path.is_file() and path.suffix != ".crdownload"]
        return files[0].read_bytes() if files else b""

    assert b'"label": "Tissue"' in eventually(saved)
