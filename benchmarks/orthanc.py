"""Debian's Orthanc with its DICOMweb plugin alone, which waits for the disk at each file as it does by default."""

import contextlib
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import servers

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = "needs the Debian packages orthanc and orthanc-dicomweb"
START_SECONDS = 30
ROOT = "/dicom-web"


def program() -> str | None:
    """Return the path of Orthanc; None without its DICOMweb plugin."""
    return shutil.which("Orthanc") if PLUGIN.exists() else None


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """Yield the port of an Orthanc with an empty store. Raises RuntimeError where it does not start."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="bench-orthanc-", ignore_cleanup_errors=True) as name:
        configuration = {
            "Name": "BENCHMARK",
            "StorageDirectory": f"{name}/storage",
            "IndexDirectory": f"{name}/storage",
            "SyncStorageArea": True,
            "HttpPort": port,
            "DicomServerEnabled": False,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": f"{ROOT}/"},
        }
        path = Path(name) / "orthanc.json"
        path.write_text(json.dumps(configuration))
        with servers.run([str(program()), str(path)], cwd=Path(name), port=port):
            _wait(port)
            yield port


def _wait(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise RuntimeError("Orthanc did not start")
