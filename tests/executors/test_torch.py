"""A network of torch in a model process: loaded once, behind four HTTP workers, and none of them carries torch."""

import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from scipy.ndimage import uniform_filter

from gateway import Client
from gateway.dicom.samples import phantom
from gateway.dicom.volumes.study import study as read_study
from tests.conftest import Serve, Server
from tests.executors.processes import below, wait_until_ready
from tests.require import require
from tests.server.running import Running, problem
from tests.waiting import eventually

TORCH = "torch==2.13.0"
MISSING = "no package index offers torch for this Python; this test installs it, some 200 MB"
SIZE = 5
"""Voxels of the box that the network averages, along each axis."""
LEVEL = 100.0
CALLS = 8

SERVICE = f"""\
import os
from pathlib import Path

from gateway import Gateway, Mask, Volume

app = Gateway(__name__)


@app.model("/", version="1")
class Smooth:
    def setup(self):
        import torch

        torch.set_num_threads(1)
        self.torch = torch
        self.network = torch.nn.Conv3d(1, 1, {SIZE}, padding={SIZE // 2}, bias=False).eval()
        with torch.no_grad():
            self.network.weight.fill_(1 / {SIZE}**3)
        with Path(__file__).with_name("loaded").open("a") as notes:
            notes.write(f"{{os.getpid()}}\\n")

    def predict(self, ct: Volume) -> Mask:
        with self.torch.inference_mode():
            smooth = self.network(self.torch.from_numpy(ct.array.copy())[None, None])[0, 0]
            return Mask((smooth > {LEVEL}).numpy(), label="Smooth")
"""

ON_DEVICES = """\
import os

import torch

from gateway import Execution, Gateway, current_device

app = Gateway(__name__)
ERRORS = {"memory": torch.OutOfMemoryError, "sticky": torch.AcceleratorError, "own": RuntimeError}
TEXTS = {"memory": "CUDA out of memory.", "sticky": "CUDA error: device-side assert triggered", "own": "no mask"}


def predict(json_input, files, digest):
    if kind := json_input.get("fail"):
        raise ERRORS[kind](TEXTS[kind])
    weights = torch.ones(3, device=current_device())
    shown = os.environ["CUDA_VISIBLE_DEVICES"]
    return {"study_ml_json": {"sum": float(weights.sum()), "shown": shown, "pid": os.getpid()}}, []


app.add_inference_route("/", predict, execution=Execution(processes=2, devices="cuda", memory="5 GiB"))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def torch_path() -> Iterator[list[Path]]:
    """Where torch is imported from: here, or a folder of its own, since it is large and no other test needs it."""
    if find_spec("torch") is not None:
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="gateway-torch-") as folder:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "1", "--target", folder, TORCH]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        require(done.returncode == 0, MISSING)
        yield [Path(folder)]


@pytest.fixture
def service(tmp_path: Path, torch_path: list[Path]) -> Path:
    """The folder of the service. Packages of torch are last on the path, after those of the gateway."""
    lines = [f"import sys; sys.path.append({str(path)!r})\n" for path in torch_path]
    (tmp_path / "smooth.py").write_text("".join(lines) + SERVICE, encoding="utf-8")
    return tmp_path


def carriers(server: Server) -> list[int]:
    """The processes of a server that have torch in their memory."""
    pids = [server.process.pid, *below(server.process.pid)]
    return [pid for pid in pids if "libtorch" in Path(f"/proc/{pid}/maps").read_text()]


def test_a_network_is_loaded_once_behind_four_workers_and_answers_them_all(service: Path, serve: Serve) -> None:
    paths = phantom.write(service / "study")
    server = serve("smooth:app", "--workers", "4", "--model-processes", "1", pythonpath=service)
    wait_until_ready(server)
    with Client(server.url) as client, ThreadPoolExecutor(CALLS) as pool:
        answers = list(pool.map(lambda _: client.ask({}, paths), range(CALLS)))
    volume = read_study([io.BytesIO(path.read_bytes()) for path in paths]).series[0].volume().array
    expected = uniform_filter(volume, SIZE, mode="constant") > LEVEL
    for answer in answers:
        (mask,) = answer.masks()
        assert (mask.squeeze().astype(bool) == expected).mean() > 0.9999  # sums of floats in another order
    loaded = (service / "loaded").read_text().split()
    assert len(loaded) == 1
    assert carriers(server) == [int(loaded[0])]
    assert carriers(server) == below(server.process.pid, "gateway.executors.host")


def test_processes_compute_on_a_device_each_and_torchs_own_errors_are_told_apart(
    tmp_path: Path, torch_path: list[Path], serve: Serve
) -> None:
    lines = [f"import sys; sys.path.append({str(path)!r})\n" for path in torch_path]
    (tmp_path / "placed.py").write_text("".join(lines) + ON_DEVICES, encoding="utf-8")
    server = serve("placed:app", "--devices", "fake:0=8GiB,fake:1=8GiB", pythonpath=tmp_path)
    wait_until_ready(server)
    running = Running(server, tmp_path, "", "process")
    seen = eventually(lambda: _two(running))
    assert sorted(view["shown"] for view in seen) == ["fake:0", "fake:1"]
    assert {view["sum"] for view in seen} == {3.0}
    problem(running.ask("", {"fail": "memory"}), 503, "unavailable")
    problem(running.ask("", {"fail": "own"}), 500, "model-failed")
    assert {view["pid"] for view in eventually(lambda: _two(running))} == {view["pid"] for view in seen}
    problem(running.ask("", {"fail": "sticky"}), 502, "model-died")
    wait_until_ready(server)
    assert sorted(view["shown"] for view in eventually(lambda: _two(running))) == ["fake:0", "fake:1"]


def _two(running: Running) -> list[dict[str, Any]]:
    """What both processes answer; empty where only one has."""
    with ThreadPoolExecutor(4) as pool:
        views = {view["pid"]: view for view in pool.map(lambda _: running.told(""), range(8))}
    return list(views.values()) if len(views) == 2 else []
