"""The whole way as an operator sets it up: dcmtk sends, two processes share a store, and dcmtk's server receives."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine

from gateway.studies import delivery_rows, round_rows
from gateway.studies.delivery_rows import Delivery
from gateway.studies.round_rows import Round
from gateway.studies.routing_rows import Routing
from tests.conftest import Serve, Server
from tests.dicom.studies import uid
from tests.dimse.test_dimse_process import Network
from tests.ports import free_port
from tests.require import require
from tests.studies.files import File
from tests.waiting import PATIENCE, eventually

DCMTK = "the tests of the whole way need Debian's package dcmtk"
RULES = """
[rules.lungs]
titles = ["CT1"]
match = {Modality = "CT"}
model = "/lungs"
destinations = ["pacs"]
association_end = true
retry_seconds = 0.2
"""
NO_DELAY = {"TCP_NODELAY": "1", "PATH": "/usr/bin:/bin"}


class Receiver:
    """dcmtk's ``storescp`` on a port of its own, which may be stopped and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        require(shutil.which("storescp"), DCMTK)
        self.folder, self.port = folder, port
        folder.mkdir(exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["storescp", "--aetitle", "PACS", "-od", str(self.folder), str(self.port)]
        self._process = subprocess.Popen(command, env=NO_DELAY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)

    @property
    def received(self) -> list[str]:
        """The names of what it has received, which have the SOP Instance UIDs."""
        return sorted(path.name for path in self.folder.iterdir())


class Way:
    """The processes of one gateway, and both of its neighbours."""

    def __init__(self, folder: Path, serve: Serve, rules: str = RULES, **variables: str) -> None:
        require(shutil.which("storescu"), DCMTK)
        self.folder, self._serve = folder, serve
        self.receiver = Receiver(folder / "pacs", free_port())
        self.notes = folder / "notes"
        self.notes.mkdir()
        (folder / "rules.toml").write_text(rules, encoding="utf-8")
        dimse = f'dimse = {{host = "127.0.0.1", port = {self.receiver.port}, aet = "PACS"}}\n'
        (folder / "peers.toml").write_text(f"[peers.pacs]\n{dimse}", encoding="utf-8")
        (folder / "peers.toml").chmod(0o600)
        self.environ = {
            "GATEWAY_STORE_FOLDER": str(folder / "store"),
            "GATEWAY_ROUTING": str(folder / "rules.toml"),
            "GATEWAY_PEERS": str(folder / "peers.toml"),
            "GATEWAY_RUN_LEASE": "2",
            "TEST_NOTES": str(self.notes),
            **variables,
        }
        self.network = self.start_network()
        self.server = self.start_server()

    def start_network(self) -> Network:
        self.network = Network(self.folder, **self.environ)
        return self.network

    def start_server(self, *options: str, **more: str) -> Server:
        self.server = self._serve("tests.apps.routing:app", *options, **self.environ, **more)
        return self.server

    def stop(self) -> None:
        self.network.kill()
        self.server.stop()
        self.receiver.stop()

    def kill_server(self) -> None:
        """End the server and its workers by signal 9."""
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait(PATIENCE)

    def write(self, name: str, sent: list[File]) -> Path:
        folder = self.folder / name
        folder.mkdir()
        for number, one in enumerate(sent):
            (folder / f"{number:03d}.dcm").write_bytes(one.data)
        return folder

    def sender(self, folder: Path) -> "subprocess.Popen[bytes]":
        """Begin to send the files of a folder, in their order, on one association."""
        line = ["storescu", "-aet", "CT1", "-aec", "GATEWAY", "127.0.0.1", str(self.network.port)]
        line += map(str, sorted(folder.iterdir()))
        return subprocess.Popen(line, env=NO_DELAY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def send(self, folder: Path) -> None:
        """Send a folder on one association."""
        assert self.sender(folder).wait(PATIENCE) == 0

    def rounds(self, study: object = "study") -> list[Round]:
        engine = create_engine(f"sqlite:///{self.folder}/store/index.sqlite")
        with engine.connect() as connection:
            found = round_rows.of_study(connection, uid("study", study))
        engine.dispose()
        return found

    def routings(self, study: object = "study") -> list[Routing]:
        return [routing for one in self.rounds(study) for routing in one.routings]

    def deliveries(self, study: object = "study") -> list[Delivery]:
        engine = create_engine(f"sqlite:///{self.folder}/store/index.sqlite")
        with engine.connect() as connection:
            found = list(delivery_rows.of_study(connection, None, uid("study", study)))
        engine.dispose()
        return found

    def slices(self) -> list[int]:
        """The numbers of slices that the model was given, each time."""
        path = self.notes / "slices"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def ended(self, count: int = 1, study: object = "study") -> list[Routing]:
        """The routings of a study, once so many have ended."""

        def look() -> list[Routing] | None:
            found = self.routings(study)
            return found if sum(one.ended_at is not None for one in found) >= count else None

        return eventually(look) or []


@contextmanager
def whole_way(folder: Path, serve: Serve, rules: str = RULES, **variables: str) -> Iterator[Way]:
    """The way, from its start to the end of the block."""
    way = Way(folder, serve, rules, **variables)
    way.receiver.start()
    try:
        yield way
    finally:
        way.stop()
