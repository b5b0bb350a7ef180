"""PyPI's monailabel client, unmodified and in an environment of its own, against a real server of several workers.

It is the client of 3D Slicer's module, which takes a new one for each call.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK

from gateway import Client
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.testing import phantom_study
from tests.conftest import Serve, Server
from tests.house.pages import ROOT, blocks
from tests.require import require
from tests.waiting import PATIENCE

PACKAGES = ("monailabel==0.8.5", "requests")
(CALL,) = blocks(ROOT / "docs/monailabel.md", "python")
LOAD = """
import json, os, sys
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

url, key, study, series, image, folder = sys.argv[1:]
token = {"token_type": "Bearer", "access_token": key}

def client(**options):
    made = MONAILabelClient(url, tmpdir=folder, **options)
    made.update_auth(token)
    return made

anonymous = MONAILabelClient(url)
assert anonymous.auth_enabled() and not anonymous.auth_valid_token()
assert anonymous.auth_token("me", key) == {"access_token": key, "token_type": "Bearer"}
assert client().auth_valid_token()
models = client().info()["models"]
assert models["region-growing"]["type"] == "deepgrow" and models["segmentation-3d"]["type"] == "segmentation"
assert list(client().datastore()["objects"]) == [series]

session = client().create_session(study)["session_id"]
assert client().get_session(session)["name"] == session
slicer = {"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False}
points = {"foreground": [[48, 48, 8]], "background": []}
for number in range(6):  # by any worker
    file, params = client(client_id="me").infer("region-growing", "CT", slicer | points, session_id=session)
os.rename(file, os.path.join(folder, "region.nrrd"))
assert params["label_names"] == {"Region": 1}
sent = client().create_session(image)["session_id"]  # as 3D Slicer does, with its own extension
words = slicer | points | {"result_extension": ".nii.gz", "modality": "CT"}
file, params = client().infer("region-growing", "CT", words, session_id=sent)
os.rename(file, os.path.join(folder, "region.nii.gz"))
file, params = client().infer("segmentation-3d", "CT", slicer | {"result_extension": ".seg.nrrd"}, file=study)
os.rename(file, os.path.join(folder, "body.seg.nrrd"))
file, params = client().infer("segmentation-3d", series, slicer | {"result_overlap": "last"})
os.rename(file, os.path.join(folder, "body.nrrd"))
assert list(params["label_names"].values()) == [1, 2, 3], params
file, params = client().infer("classification", series, {})
assert file is None and json.loads(params)["answer"]["study_ml_json"]  # bytes, also from MONAI Label's own server

kept = client()
kept.infer("region-growing", "CT", slicer | points, session_id=session)
assert kept.info()["name"]  # with the header of the form before, and no body
assert client().remove_session(session)["name"] == session
assert not client().train_status(check_if_running=True)
for call in (
    lambda: anonymous.info(),
    lambda: anonymous.auth_token("you", key),
    lambda: client().get_session(session),
    lambda: client().remove_session(session),
    lambda: client().infer("region-growing", "CT", points, session_id=session),
    lambda: client().infer("segmentation-3d", series, slicer),
    lambda: client().infer("region-growing", "CT", points, session_id=sent),
    lambda: client().infer("region-growing", series, {"foreground": [[96, 0, 0]]}),
    lambda: client().infer("none", series, slicer),
    lambda: client().infer("segmentation-3d", "../../etc/passwd", slicer),
    lambda: client().infer("segmentation-3d", series, slicer, label_in=study),
    lambda: client().upload_image(study, "CT"),
    lambda: client().save_label("CT", study),
    lambda: client().download_label("CT", "final"),
    lambda: client().next_sample("random", {}),
    lambda: client().train_start("segmentation-3d", {}),
    lambda: client().train_stop(),
    lambda: client().train_status(),
    lambda: client().wsi_infer("segmentation-3d", "CT"),
):
    try:
        print("answered:", call())
    except MONAILabelClientException as error:
        print(error.msg.split(";")[0], "urn:gateway:problem:" in error.msg)
"""
WANTED = [401, 401, 404, 404, 404, 406, 422, 422, 404, 404, 501, 501, 501, 501, 501, 501, 501, 501, 401]
"""The last is the client's: it sends no token with that one."""


@pytest.fixture(scope="module")
def key() -> str:
    return new_key()


@pytest.fixture(scope="module")
def server(serve: Serve, key: str, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The shipped models with keys and a store, in two workers and processes of their own."""
    folder = tmp_path_factory.mktemp("monai")
    me = Caller("me", frozenset({"infer", "read", "write"}), ("*",))
    change(folder / "callers.json", lambda _: [CallerEntry(me, fingerprint(key))])
    return serve(
        "models.app:app",
        *("--workers", "2", "--model-processes", "1"),
        GATEWAY_MONAI="1",
        GATEWAY_STORE_FOLDER=str(folder / "store"),
        GATEWAY_API_KEYS_FILE=str(folder / "callers.json"),
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The interpreter of an environment with the client."""
    folder = tmp_path_factory.mktemp("monailabel")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, capture_output=True)
    pip = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--retries", "1"]
    client, library = PACKAGES
    for words in ([client, "--no-deps"], [library]):
        installed = subprocess.run([*pip, *words], capture_output=True)
        require(installed.returncode == 0, f"{words[0]} can be installed from no package index here")
    yield folder / "venv/bin/python"
    shutil.rmtree(folder)


def ran(python: Path, program: str, *words: object, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [python, "-W", "ignore", "-c", program, *map(str, words)],  # the client uses cgi, which Python 3.13 has not
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=folder,
    )


def archive(files: list[Path], folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder / "study"), "zip", files[0].parent))


@pytest.mark.slow
def test_every_method_of_the_client_works_or_says_why_not(
    server: Server, python: Path, key: str, tmp_path: Path
) -> None:
    files = phantom_study(tmp_path / "phantom", slices=16, size=96)
    with Client(server.url, api_key=key) as client:
        client.upload(files)
        body: Any = client.infer(files, "/segmentation-3d").masks
        with client.session(files, "/region-growing") as session:
            session.click((8, 48, 48))
            region = session.mask.copy()
    (series,) = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(files[0].parent))
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(files[0].parent), series)
    SimpleITK.WriteImage(SimpleITK.ReadImage(names), tmp_path / "ct.nii.gz")
    words = f"{server.url}/monai", key, archive(files, tmp_path), series, tmp_path / "ct.nii.gz", tmp_path
    output = ran(python, LOAD, *words, folder=tmp_path)
    assert output.returncode == 0, output.stderr
    assert output.stdout.splitlines() == [f"Status: {status} True" for status in WANTED]
    assert 0 < region.sum() < region.size
    for name in ("region.nrrd", "region.nii.gz"):
        np.testing.assert_array_equal(values(tmp_path / name), region)
    inside, tissue = np.asarray(body[0]) >= 127.5, np.asarray(body[1])
    np.testing.assert_array_equal(values(tmp_path / "body.nrrd"), np.where(tissue, tissue + 1, inside))
    layers = values(tmp_path / "body.seg.nrrd")
    np.testing.assert_array_equal(layers, np.stack([inside, tissue], axis=-1))
    metrics = requests.get(f"{server.url}/metrics", headers={"X-API-Key": key}, timeout=PATIENCE).text
    assert 'gateway_requests_total{door="monailabel",route="/region-growing",status="200"} 8' in metrics


def values(path: Path) -> Any:
    """(slice, row, column), and an axis of layers where the file has one."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))


@pytest.mark.slow
def test_the_example_of_the_page_runs(serve: Serve, python: Path, tmp_path: Path) -> None:
    server = serve("models.app:app", GATEWAY_MONAI="1")
    archive(phantom_study(tmp_path / "phantom", slices=16, size=512), tmp_path)
    program = CALL.text.replace("127.0.0.1:8900", f"127.0.0.1:{server.port}").replace("/tmp", str(tmp_path))
    output = ran(python, program, folder=tmp_path)
    assert (output.returncode, output.stderr) == (0, "")
    assert output.stdout.splitlines()[1].endswith("{'Region': 1}")
