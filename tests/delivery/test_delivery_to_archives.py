"""Deliveries to unmodified archives: Orthanc, dcmtk's storescp, and a second gateway that demands a certificate, while
the first is killed again and again.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
import requests

from gateway.cli import main
from gateway.studies import delivery_rows
from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.index import Index
from tests.access.certificates import Authority, named
from tests.conftest import Serve, Server
from tests.delivery.peers import Outbox
from tests.endpoints.dicomweb import orthanc
from tests.peers.test_dimse_peer import DROPPED_SOCKET
from tests.ports import free_port
from tests.require import require
from tests.studies.asking import Asking
from tests.studies.files import File, files
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

DIMSE = 'dimse = {{host = "127.0.0.1", port = {}, aet = "{}"}}'


@pytest.fixture
def database_url() -> str:
    return ""


def test_orthanc_has_the_same_bytes_by_stow_and_again(outbox: Outbox, tmp_path: Path) -> None:
    require(orthanc.program(), orthanc.MISSING)
    sent = files(3)
    with orthanc.orthanc(tmp_path, {}) as running:
        outbox.open({"pacs": f'dicomweb = "{running.url}/dicom-web"'})
        for number, run_key in enumerate(("", "a" * 64)):
            id = outbox.queue(sent, run_key=run_key, stored=not number)
            eventually(lambda id=id: outbox.brief(id) == ("delivered", 1, "stored"))
        names = running.get("/instances").json()
        assert {running.get(f"/instances/{name}/file").content for name in names} == {one.data for one in sent}


@DROPPED_SOCKET
def test_storescp_that_is_away_for_a_minute_has_all_once_it_is_back(outbox: Outbox, tmp_path: Path) -> None:
    require(shutil.which("storescp"), "this test needs Debian's package dcmtk")
    studies, port, received = [files(2, study=number) for number in range(3)], free_port(), tmp_path / "received"
    received.mkdir()
    outbox.open({"pacs": DIMSE.format(port, "FAR")})
    ids = [outbox.queue(sent) for sent in studies]
    eventually(lambda: {outbox.brief(id) for id in ids} == {("pending", 1, "unavailable")})
    with subprocess.Popen(["storescp", "-aet", "FAR", "-od", str(received), str(port)]) as process:
        try:
            outbox.pass_time(60)
            eventually(lambda: {outbox.brief(id)[0] for id in ids} == {"delivered"})
        finally:
            process.terminate()
    uids = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in received.iterdir()}
    assert uids == {one.entry.sop_instance_uid for sent in studies for one in sent}


class Pair:
    """Two servers: the second admits the first by its certificate alone."""

    def __init__(self, serve: Serve, folder: Path) -> None:
        authority = Authority(folder)
        server = authority.sign(named(CN="archive"), "archive.pem")
        self.mine = authority.sign(named(CN="gateway"), "gateway.pem")
        self.authority, self._serve, self._store = authority.path, serve, folder / "store"
        callers = folder / "callers.json"
        words = ["keys", "add", "gateway", "--certificate", "CN=gateway", "--roles", "read,write"]
        assert main([*words, "--file", str(callers)]) == 0
        options = ("--certfile", str(server), "--ca-certs", str(authority.path), "--require-client-certificate")
        settings = {"GATEWAY_STORE_FOLDER": str(folder / "archive"), "GATEWAY_API_KEYS_FILE": str(callers)}
        self.archive = serve("tests.apps.typed:app", *options, GATEWAY_DICOMWEB="1", **settings)
        self.peers = folder / "peers.toml"
        self.peers.write_text(
            f'[peers.archive]\ndicomweb = "{self.archive.url}/dicomweb"\nca = "{authority.path.name}"\n'
            f'certificate = "{self.mine.name}"\nkey = "{self.mine.name}"\n'
        )
        self.mine.chmod(0o600)

    def start(self) -> Server:
        settings = {"GATEWAY_STORE_FOLDER": str(self._store), "GATEWAY_PEERS": str(self.peers)}
        return self._serve("tests.apps.typed:app", "--workers", "2", **settings)

    def get(self, path: str) -> requests.Response:
        options = {"cert": str(self.mine), "verify": str(self.authority), "timeout": PATIENCE}
        return requests.get(f"{self.archive.url}/dicomweb{path}", **options)

    @contextlib.contextmanager
    def index(self) -> Iterator[Index]:
        opened = Index(self._store)
        try:
            yield opened
        finally:
            opened.close()


def queue(index: Index, sent: list[File]) -> str:
    pairs = [(one.entry.sop_instance_uid, one.entry.sha256) for one in sent]
    with index.writing() as connection:
        return delivery_rows.queue(
            connection,
            caller="",
            destination="archive",
            study=sent[0].entry.study_instance_uid,
            instances=pairs,
            now=time.time(),
        )


def kill(server: Server) -> None:
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def test_a_gateway_that_is_killed_again_and_again_loses_nothing_and_stores_nothing_twice(
    serve: Serve, tmp_path: Path
) -> None:
    pair, studies = Pair(serve, tmp_path), [files(4, study=number) for number in range(24)]
    server = pair.start()
    asking = Asking(server.url)
    eventually(lambda: asking.ask("GET", "/readyz").status_code == 200)
    for sent in studies:
        assert asking.send_missing(sent) == 4
    with pair.index() as index:

        def delivered() -> int:
            with index.reading() as connection:
                return len(delivery_rows.listed(connection, DeliveryState.DELIVERED, 100))

        ids = [queue(index, sent) for sent in studies]
        for killed in range(1, 4):
            eventually(lambda least=4 * killed: delivered() >= least)
            kill(server)
            with index.writing() as connection:  # what it had leased would wait for a minute
                connection.exec_driver_sql("UPDATE deliveries SET next_at = 0 WHERE state = 'pending'")
            server = pair.start()
        eventually(lambda: delivered() == len(ids))
    assert len(pair.get("/studies?limit=100").json()) == len(studies)
    for sent in studies:
        study = sent[0].entry.study_instance_uid
        found = [one["00080018"]["Value"][0] for one in pair.get(f"/studies/{study}/instances").json()]
        assert sorted(found) == sorted(one.entry.sop_instance_uid for one in sent)
