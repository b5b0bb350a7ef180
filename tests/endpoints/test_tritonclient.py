"""PyPI's tritonclient, unmodified and in an environment of its own, against a real server with model processes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Serve, Server
from tests.house.pages import ROOT, blocks
from tests.require import require
from tests.waiting import PATIENCE

PACKAGE = "tritonclient[http]==2.73.0"
PAGE = ROOT / "docs/oip.md"
SERVICE, CALL, WITHOUT = blocks(PAGE, "python")
SAID = "25000 voxels\nDense\n"
LOAD = """
import sys, threading
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

client = InferenceServerClient(sys.argv[1], concurrency=4)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("dense")
assert client.is_model_ready("dense", "1.0") and not client.is_model_ready("dense", "2")
assert [one["name"] for one in client.get_model_repository_index()] == ["dense"]
assert client.get_model_config("dense")["max_batch_size"] == 0
assert client.get_model_metadata("dense")["inputs"][0]["shape"] == [-1, -1, -1]

def tensor(array, name="volume", datatype="FP32", **options):
    made = InferInput(name, array.shape, datatype)
    made.set_data_from_numpy(array, **options)
    return made

random = np.random.default_rng(1)
arrays = [random.normal(0, 200, (count, 64, 64)).astype(np.float32) for count in range(1, 9)]
requests = [client.async_infer("dense", [tensor(array)], request_id=str(n)) for n, array in enumerate(arrays * 8)]
for number, request in enumerate(requests):
    result = request.get_result()
    assert result.get_response()["id"] == str(number)
    assert np.array_equal(result.as_numpy("boolean_mask"), arrays[number % 8] > 100)

small, wanted = arrays[0], [InferRequestedOutput("boolean_mask", binary_data=False)]
result = client.infer("dense", [tensor(small[None], binary_data=False)], outputs=wanted)
assert np.array_equal(result.as_numpy("boolean_mask"), small[None] > 100)
files = np.array([open(name, "rb").read() for name in sys.argv[2:]], dtype=np.object_)
result = client.infer("dense", [tensor(files, "study", "BYTES")], timeout=60_000_000)
print(int(result.as_numpy("boolean_mask").sum()))
for options in ({"model_name": "other"}, {"timeout": 1}, {"parameters": {"threshold": "high"}}, {"sequence_id": 5},
                {"request_compression_algorithm": "gzip"}):
    try:
        client.infer(**{"model_name": "dense", "inputs": [tensor(small)], **options})
    except InferenceServerException as error:
        print(error.status(), error.message())
client.close()
"""


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The service of the page, its model in two processes."""
    folder = tmp_path_factory.mktemp("dense")
    (folder / "dense_service.py").write_text(SERVICE.text)
    return serve("dense_service:app", "--model-processes", "2", pythonpath=folder)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The interpreter of an environment with the client."""
    folder = tmp_path_factory.mktemp("tritonclient")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, capture_output=True)
    install = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--retries", "1", PACKAGE]
    installed = subprocess.run(install, capture_output=True)
    require(installed.returncode == 0, f"{PACKAGE} can be installed from no package index here")
    yield folder / "venv/bin/python"
    shutil.rmtree(folder)


def ran(python: Path, program: str, *words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [python, "-c", program, *map(str, words)],
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def answered(server: Server, files: list[Path]) -> int:
    """The voxels of the same study on the model's own route."""
    from gateway import Client

    with Client(server.url) as client:
        mask: Any = client.infer(files, "/dense").masks[0]
    return int(mask.sum())


@pytest.mark.server
def test_the_example_without_the_client_runs(server: Server) -> None:
    output = ran(Path(sys.executable), WITHOUT.text.replace("http://127.0.0.1:8900", server.url))
    assert (output.stdout, output.stderr) == ("boolean_mask Dense 25000\n", "")


@pytest.mark.slow
def test_the_example_of_the_page_runs(server: Server, python: Path) -> None:
    output = ran(python, CALL.text.replace("127.0.0.1:8900", f"127.0.0.1:{server.port}"))
    assert (output.stdout, output.stderr) == (SAID, "")


@pytest.mark.slow
def test_the_client_loops_over_arrays_studies_and_refusals(server: Server, python: Path, tmp_path: Path) -> None:
    from gateway.testing import phantom_study

    files = phantom_study(tmp_path, slices=5, size=64)
    output = ran(python, LOAD, f"127.0.0.1:{server.port}", *files)
    assert output.returncode == 0, output.stderr
    voxels, *refusals = output.stdout.splitlines()
    assert int(voxels) == answered(server, files) > 0
    assert [line.partition(" ")[0] for line in refusals] == ["404", "504", "422", "422", "415"]
    metrics = requests.get(f"{server.url}/metrics", timeout=PATIENCE).text
    assert 'gateway_requests_total{door="oip",route="/dense",status="200"}' in metrics
