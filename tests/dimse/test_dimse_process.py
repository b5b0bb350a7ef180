"""``python -m gateway dimse`` as a process: refusals at its start, dcmtk as its peer, and signals."""

import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from tests.commands import Command, command
from tests.dimse.raw_peer import RawPeer, store_request
from tests.dimse.serving import TITLES
from tests.ports import free_port
from tests.require import require
from tests.studies.files import files
from tests.waiting import PATIENCE, eventually

LISTENING = re.compile(r"listening for DICOM associations at \S+, port (\d+)")
DCMTK = "the tests of the DICOM network need Debian's package dcmtk"


class Network:
    """The process, its port and its log."""

    def __init__(self, folder: Path, *options: str, **environ: str) -> None:
        self.folder, self.log = folder, folder / "dimse.log"
        self.log.unlink(missing_ok=True)  # it would name the port of the process before
        (folder / "titles.toml").write_text(TITLES, encoding="utf-8")
        self.environ = {
            "GATEWAY_STORE_FOLDER": str(folder / "store"),
            "GATEWAY_DIMSE_TITLES_FILE": str(folder / "titles.toml"),
            **environ,
        }
        self.process = Command(["dimse", "--port", "0", *options], folder, self.environ, [self.log])
        found = eventually(lambda: LISTENING.search(self.text) or self.process.poll() is not None)
        assert isinstance(found, re.Match), self.text
        self.port = int(found[1])

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    @property
    def instances(self) -> int:
        with closing(sqlite3.connect(self.folder / "store" / "index.sqlite")) as index:
            return int(index.execute("SELECT count(*) FROM holdings WHERE caller = 'ct1'").fetchone()[0])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    running = Network(tmp_path)
    yield running
    running.kill()


def scu(network: Network, program: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a program of dcmtk against the process."""
    require(shutil.which(program), DCMTK)
    line = [program, "-aet", "CT1", "-aec", "GATEWAY", "127.0.0.1", str(network.port), *map(str, arguments)]
    environ = {"TCP_NODELAY": "1", "PATH": "/usr/bin"}
    return subprocess.run(line, env=environ, capture_output=True, text=True, timeout=PATIENCE)


def write(folder: Path, count: int, **options: object) -> Path:
    folder.mkdir()
    for number, one in enumerate(files(count, **options)):
        (folder / f"{number}.dcm").write_bytes(one.data)
    return folder


def test_dcmtk_verifies_and_stores(network: Network, tmp_path: Path) -> None:
    assert scu(network, "echoscu").returncode == 0
    study = write(tmp_path / "study", 5)
    assert scu(network, "storescu", "+sd", study).returncode == 0
    assert network.instances == 5
    assert "Doe" not in network.text


def test_sigterm_lets_an_association_end(network: Network) -> None:
    with RawPeer(network.port) as peer:
        assert peer.associate() == 2
        network.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: "draining" in network.text)
        peer.command(store_request("1.2.3"))
        peer.fragment(b"no data set")
        assert peer.status() == 0xC000
        peer.pdu(5, bytes(4))
        assert peer.answer()[0] == 6
    assert network.process.wait(PATIENCE) == 0


@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_sigkill(tmp_path: Path) -> None:
    require(shutil.which("storescu"), DCMTK)
    network = Network(tmp_path)
    study = write(tmp_path / "study", 400)
    line = ["storescu", "-v", "+sd", "-aet", "CT1", "-aec", "GATEWAY", "127.0.0.1", str(network.port), str(study)]
    log = tmp_path / "storescu.log"
    with log.open("wb") as output:
        sending = subprocess.Popen(line, stdout=output, stderr=output, env={"TCP_NODELAY": "1", "PATH": "/usr/bin"})
        eventually(lambda: network.instances >= 100)
        network.kill()
        assert sending.wait(PATIENCE) != 0
    acknowledged = log.read_text(encoding="utf-8").count("Received Store Response (Success)")
    assert 100 <= acknowledged <= network.instances <= acknowledged + 1
    again = Network(tmp_path)
    assert list((tmp_path / "store" / "incoming").iterdir()) == []
    assert scu(again, "storescu", "+sd", study).returncode == 0
    assert again.instances == 400
    again.kill()


@pytest.mark.parametrize(
    ("arguments", "environ", "text"),
    [
        ([], {}, "GATEWAY_STORE_FOLDER"),
        ([], {"GATEWAY_STORE_FOLDER": "store"}, "GATEWAY_DIMSE_TITLES_FILE"),
        (["--host", "0.0.0.0"], {"GATEWAY_STORE_FOLDER": "store", "GATEWAY_DIMSE_TITLES_FILE": "ae"}, "--allow-plain"),
        (["--aet", "x" * 17], {"GATEWAY_STORE_FOLDER": "store", "GATEWAY_DIMSE_TITLES_FILE": "ae"}, "16 characters"),
        ([], {"GATEWAY_STORE_FOLDER": "store", "GATEWAY_DIMSE_TITLES_FILE": "absent"}, "No such file"),
        (
            ["--host", "0.0.0.0", "--allow-plain"],
            {"GATEWAY_STORE_FOLDER": "store", "GATEWAY_DIMSE_TITLES_FILE": "any"},
            "and not all",
        ),
    ],
)
def test_a_start_that_would_not_serve_as_meant_is_refused(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], text: str
) -> None:
    (tmp_path / "ae").write_text(TITLES, encoding="utf-8")
    (tmp_path / "any").write_text('[ae.ANY]\naddress = ["0.0.0.0/0"]\ncaller = "any"\n', encoding="utf-8")
    found = command("dimse", "--port", "0", *arguments, folder=tmp_path, environ={"PATH": "/usr/bin", **environ})
    assert found.returncode == 2
    assert text in found.stderr


def test_metrics_are_answered_on_a_port_of_their_own(tmp_path: Path) -> None:
    port = free_port()
    network = Network(tmp_path, "--metrics-port", str(port))
    scu(network, "echoscu")

    def page() -> str:
        return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text

    assert eventually(lambda: 'gateway_dimse_associations_total{outcome="released"} 1.0' in page())
    network.kill()
