"""Orthanc and dcmtk, unmodified, on both sides: they store to the gateway, ask for commitment, and receive."""

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.dimse.serving import Serving, serving
from tests.dimse.test_moves_and_commitments import stored
from tests.ports import free_port
from tests.require import require
from tests.studies.files import files
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

TITLES = """
[ae.ORTHANC]
address = ["127.0.0.1"]
caller = "orthanc"
may = ["store", "find", "get", "move"]

[ae.CT1]
address = ["127.0.0.1"]
caller = "ct1"
may = ["store", "find", "get", "move"]
"""


class DicomOrthanc:
    """Debian's Orthanc with its DICOM server on; it knows the gateway as ``gateway``."""

    def __init__(self, folder: Path, dicom: int, gateway: int) -> None:
        self._http = free_port()
        configuration = {
            "Name": "TEST",
            "DicomAet": "ORTHANC",
            "DicomPort": dicom,
            "HttpPort": self._http,
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "DicomAlwaysAllowStore": True,
            "DicomModalities": {"gateway": ["GATEWAY", "127.0.0.1", gateway]},
        }
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        with (folder / "orthanc.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["Orthanc", str(folder / "orthanc.json")], cwd=folder, stdout=log, stderr=log
            )
        eventually(self._answers)

    def call(self, path: str, body: Any = None) -> Any:
        url = f"http://127.0.0.1:{self._http}{path}"
        if body is None:
            return requests.get(url, timeout=PATIENCE).json()
        answer = requests.post(url, data=body if isinstance(body, bytes) else json.dumps(body), timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)

    def _answers(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return bool(self.call("/system"))
        return False


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Serving, DicomOrthanc]]:
    require(shutil.which("Orthanc"), "this test needs Debian's package orthanc")
    dicom = free_port()
    (tmp_path / "orthanc").mkdir()
    peers = tmp_path / "peers.toml"
    peers.write_text(f'[peers.orthanc]\ndimse = {{host = "127.0.0.1", port = {dicom}, aet = "ORTHANC"}}\n')
    with serving(tmp_path, titles=TITLES, peers=peers, dicomweb=True) as served:
        orthanc = DicomOrthanc(tmp_path / "orthanc", dicom, served.port)
        try:
            yield served, orthanc
        finally:
            orthanc.stop()


def test_orthanc_stores_asks_for_commitment_and_is_told(both: tuple[Serving, DicomOrthanc]) -> None:
    served, orthanc = both
    sent = files(5, study="orthanc")
    study = ""
    for one in sent:
        study = orthanc.call("/instances", one.data)["ParentStudy"]
    assert orthanc.call("/modalities/gateway/echo", {}) == {}
    orthanc.call("/modalities/gateway/store", {"Resources": [study], "StorageCommitment": False})
    assert sorted(served.held("orthanc")) == sorted(one.entry.sop_instance_uid for one in sent)
    asked = orthanc.call("/modalities/gateway/storage-commitment", {"Resources": [study]})
    report = eventually(lambda: _ended(orthanc.call(f"/storage-commitment/{asked['ID']}")))
    assert report["Status"] == "Success"
    assert len(report["Success"]) == 5


def _ended(report: Any) -> Any:
    return report if report["Status"] != "Pending" else None


def test_orthanc_finds_and_retrieves_by_a_move(both: tuple[Serving, DicomOrthanc]) -> None:
    served, orthanc = both
    sent = stored(served, "for orthanc")
    # what another caller has is not Orthanc's to see
    query = {"Level": "Study", "Query": {"StudyInstanceUID": str(sent[0].StudyInstanceUID)}}
    found = orthanc.call("/modalities/gateway/query", query)["ID"]
    assert orthanc.call(f"/queries/{found}/answers") == []
    for one in files(3, study="moved by orthanc"):
        study = orthanc.call("/instances", one.data)["ParentStudy"]
    orthanc.call("/modalities/gateway/store", {"Resources": [study]})
    requests.delete(f"http://127.0.0.1:{orthanc._http}/studies/{study}", timeout=PATIENCE)
    uid = files(1, study="moved by orthanc")[0].entry.study_instance_uid
    query = {"Level": "Study", "Query": {"StudyInstanceUID": uid}}
    found = orthanc.call("/modalities/gateway/query", query)["ID"]
    assert orthanc.call(f"/queries/{found}/answers") == ["0"]
    orthanc.call(f"/queries/{found}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    assert len(orthanc.call("/instances")) == 3


@pytest.mark.parametrize("program", ["findscu", "getscu", "movescu"])
def test_dcmtk_queries_and_retrieves(tmp_path: Path, program: str) -> None:
    require(shutil.which(program), "this test needs Debian's package dcmtk")
    received, port = tmp_path / "received", free_port()
    received.mkdir()
    peers = tmp_path / "peers.toml"
    peers.write_text(f'[peers.far]\ndimse = {{host = "127.0.0.1", port = {port}, aet = "FAR"}}\n')
    with serving(tmp_path, titles=TITLES, peers=peers, dicomweb=True) as served:
        sent = stored(served, "dcmtk")
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={sent[0].StudyInstanceUID}"]
        more = {"findscu": ["-X", "-od", str(received)], "getscu": ["-od", str(received)], "movescu": ["-aem", "FAR"]}
        line = [program, "-S", "-aet", "CT1", "-aec", "GATEWAY", *more[program], *keys, "127.0.0.1", str(served.port)]
        with contextlib.ExitStack() as stack:
            if program == "movescu":
                receiver = ["storescp", "-aet", "FAR", "-od", str(received), str(port)]
                process = stack.enter_context(subprocess.Popen(receiver))
                stack.callback(process.terminate)
            done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
    assert len(list(received.iterdir())) == (1 if program == "findscu" else 3)
