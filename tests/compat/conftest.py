"""A service file of the predecessor, put in a folder of its own and served by gunicorn as its owner would."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.ports import free_port
from tests.waiting import PATIENCE, eventually

ROOT = Path(__file__).resolve().parents[2]
OLD_SERVICE = Path(__file__).with_name("service.py.txt")


@dataclass(frozen=True)
class Service:
    """One running service: its address and its output."""

    url: str
    log: Path

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")


def lay_out(folder: Path) -> Path:
    """The folder as its owner has it: the service's file and the logging.yaml that it opens."""
    shutil.copy(OLD_SERVICE, folder / "service.py")
    shutil.copy(ROOT / "logging.yaml", folder / "logging.yaml")
    return folder


@contextmanager
def running(folder: Path, port: int, *command: str) -> Iterator[Service]:
    """Run ``command`` in ``folder`` until the block ends; it is ready when its port accepts a connection."""
    log = folder / "output.log"
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("wb") as sink:
        process = subprocess.Popen([sys.executable, *command], cwd=folder, env=environ, stdout=sink, stderr=sink)
    try:
        service = Service(f"http://127.0.0.1:{port}", log)
        _wait(service, process)
        yield service
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def _wait(service: Service, process: "subprocess.Popen[bytes]") -> None:
    eventually(lambda: process.poll() is not None or _answers(service))
    assert process.poll() is None, f"the service did not start:\n{service.said()}"


def _answers(service: Service) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        requests.get(service.url + "/ping", timeout=PATIENCE)
        return True
    return False


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The old service under gunicorn, without settings of the gateway."""
    folder, port = lay_out(tmp_path_factory.mktemp("service")), free_port()
    options = ("--no-control-socket", "--threads", "4", "--bind", f"127.0.0.1:{port}")
    with running(folder, port, "-m", "gunicorn", *options, "service:app") as started:
        yield started


@pytest.fixture(scope="session")
def series() -> list[bytes]:
    """The files of one MR series of seven slices, 16 x 16, that pydicom carries."""
    return [path.read_bytes() for path in sorted((_test_files() / "dicomdirtests/98892003/MR2").iterdir())]


@pytest.fixture(scope="session")
def image() -> bytes:
    """One CT image of 128 x 128."""
    return (_test_files() / "CT_small.dcm").read_bytes()


@pytest.fixture
def old_service_folder(tmp_path: Path) -> Path:
    return lay_out(tmp_path)


def _test_files() -> Path:
    import pydicom

    return Path(pydicom.__file__).parent / "data" / "test_files"
