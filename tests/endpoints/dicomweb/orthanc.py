"""Debian's Orthanc with its DICOMweb plugin, in a folder of its own."""

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.ports import free_port
from tests.waiting import PATIENCE, eventually

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = "the tests beside Orthanc need the Debian packages orthanc and orthanc-dicomweb"


def program() -> str | None:
    """The path of Orthanc; None without its DICOMweb plugin."""
    return shutil.which("Orthanc") if PLUGIN.exists() else None


class Orthanc:
    """A running Orthanc, which knows the DICOMweb servers of its configuration."""

    def __init__(self, folder: Path, servers: dict[str, Any]) -> None:
        port = free_port()
        configuration = {
            "Name": "TEST",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": port,
            "DicomServerEnabled": False,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": servers},
        }
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "orthanc.log").open("wb")
        command = [str(program()), str(folder / "orthanc.json")]
        self._process = subprocess.Popen(command, cwd=folder, stdout=self._log, stderr=self._log)
        eventually(self._answers)

    def add(self, data: bytes) -> str:
        """Store a file; the id of its study."""
        return str(requests.post(f"{self.url}/instances", data=data, timeout=PATIENCE).json()["ParentStudy"])

    def job(self, path: str, resources: list[Any]) -> dict[str, Any]:
        """Run a job of the plugin to its end."""
        body = {"Resources": resources, "Synchronous": True}
        answer = requests.post(f"{self.url}/dicom-web/servers/{path}", json=body, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=PATIENCE)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _answers(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return self.get("/system").status_code == 200
        return False


@contextlib.contextmanager
def orthanc(folder: Path, servers: dict[str, Any]) -> Iterator[Orthanc]:
    running = Orthanc(folder, servers)
    try:
        yield running
    finally:
        running.stop()
