"""Every command of the page that connects a PACS, as it stands there but for the ports, with Debian's Orthanc."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.house.pages import ROOT, blocks, commands
from tests.ports import free_port
from tests.require import require
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs/connecting-a-pacs.md"
PORTS = ("4242", "8042", "11112", "8900")
"""Of the page: those of Orthanc, of the DICOM network and of the HTTP server."""
REJECTIONS = ("Calling AE Title Not Recognized", "Called AE Title Not Recognized")


class Machine:
    """The folder of the page's reader, and the ports that stand in place of the page's."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ports = folder, {name: str(free_port()) for name in PORTS}
        own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        self.environ = {**os.environ, **own, "TCP_NODELAY": "1"}
        self._servers: list[subprocess.Popen[bytes]] = []

    def own(self, text: str) -> str:
        """A text of the page with the ports of this machine."""
        for name, port in self.ports.items():
            text = re.sub(rf"\b{name}\b", port, text)
        return text

    def write(self) -> None:
        """The files of the page: each block names its own, and JSON is Orthanc's."""
        for block in blocks(PAGE, "python", "toml", "json"):
            name = block.text.splitlines()[0].removeprefix("# ") if block.language != "json" else "orthanc.json"
            (self.folder / name).write_text(self.own(block.text), encoding="utf-8")

    def run(self, line: str) -> str:
        """Run a command; one that ends with ``&`` goes on, and its standard output is awaited by nobody."""
        if line.startswith("export "):
            self.environ |= dict(pair.split("=", 1) for pair in shlex.split(line)[1:])
            return ""
        line = self.own(line)
        if line.endswith("&"):
            command = ["bash", "-c", f"exec {line.removesuffix('&')}"]
            self._servers.append(subprocess.Popen(command, cwd=self.folder, env=self.environ))
            return ""
        command = ["bash", "-euc", line]
        ran = subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, text=True)
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}{self.logs}"
        return ran.stdout

    def listens(self) -> bool:
        """True once the DICOM network listens."""
        log = self.folder / "dimse.log"
        return log.exists() and "listening for DICOM" in log.read_text(encoding="utf-8")

    @property
    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.log"))

    def stop(self) -> None:
        for server in self._servers:
            server.send_signal(signal.SIGTERM)
        for server in self._servers:
            server.wait(PATIENCE)


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    running = Machine(folder)
    try:
        yield running
    finally:
        running.stop()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=PATIENCE).ok
    except requests.ConnectionError:
        return False


def test_the_page_leads_from_an_empty_folder_to_a_result_in_the_pacs(tmp_path: Path) -> None:
    require(shutil.which("Orthanc") and shutil.which("storescu"), "the page needs Debian's orthanc and dcmtk")
    install, orthanc, settings, *checks = commands(PAGE)
    assert install.startswith("pip install")
    phantom, rehearse, echo, doctor, serve, dimse, hello, send, listed, done, found, to_pacs, back, both = checks
    with machine(tmp_path) as here:
        here.write()
        here.run(orthanc)
        eventually(lambda: answers(here.own("http://127.0.0.1:8042/system")))
        here.run(settings)
        here.run(phantom)
        sample = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("bones "))
        assert here.run(rehearse).split() == sample.split()
        assert here.run(echo).split() == ["ok", "orthanc"]
        here.run(doctor)
        here.run(serve)
        here.run(dimse)
        eventually(lambda: answers(here.own("http://127.0.0.1:8900/readyz")))
        eventually(here.listens)
        here.run(hello)
        here.run(send)
        assert eventually(lambda: here.run(listed)).split("\t")[4] == "CT1"
        assert eventually(lambda: here.run(done)).split("\t")[6:] == ["bones done", "orthanc delivered\n"]
        (series,) = json.loads(here.run(found))
        assert series["MainDicomTags"]["Modality"] == "SEG"
        here.run(to_pacs)
        here.run(back)
        lines = eventually(lambda: two if len(two := here.run(both).splitlines()) == 2 else None)
        assert {tuple(line.split("\t")[i] for i in (3, 4, 6)) for line in lines} == {
            ("64", "CT1", "bones done"),
            ("64", "ORTHANC", "bones done"),
        }
        shown = here.run(f"python -m gateway studies show {lines[0].split()[0]}")
        assert "64 from ORTHANC" in shown and " 1 from ORTHANC" in shown  # the SEG, which no rule takes
        page = requests.get(here.own("http://127.0.0.1:8900/admin/studies"), timeout=PATIENCE).text
        assert "orthanc <span" in page


@pytest.mark.parametrize("word", REJECTIONS)
def test_the_page_s_words_for_a_rejection_are_those_of_dcmtk(tmp_path: Path, word: str) -> None:
    require(shutil.which("echoscu"), "the page needs Debian's dcmtk")
    assert word in PAGE.read_text(encoding="utf-8")
    with machine(tmp_path) as here:
        here.write()
        here.run(next(line for line in commands(PAGE) if line.startswith("export")))
        here.run(next(line for line in commands(PAGE) if " dimse " in line))
        eventually(here.listens)
        hello = here.own(next(line for line in commands(PAGE) if line.startswith("echoscu")))
        wrong = hello.replace("CT1", "CT9") if "Calling" in word else hello.replace("GATEWAY", "OTHER")
        for program in (shutil.which("echoscu", path="/usr/bin"), shutil.which("echoscu", path=here.environ["PATH"])):
            line = [str(program), *shlex.split(wrong)[1:]]  # dcmtk's, and pynetdicom's, which is British
            refused = subprocess.run(line, env=here.environ, capture_output=True, text=True)
            assert word.lower() in (refused.stdout + refused.stderr).lower().replace("recognised", "recognized")
