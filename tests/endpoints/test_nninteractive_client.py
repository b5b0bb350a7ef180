"""PyPI's nninteractive-client, unmodified and in an environment of its own, drives region growing on a real server."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway import Box, Clicks, Point
from gateway.contract.interaction import BoxClick, Click
from models.region_growing import Growth
from tests.conftest import Serve, Server
from tests.house.pages import ROOT, blocks
from tests.require import require
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

PACKAGE = "nninteractive-client==2.6.0"
(EXAMPLE,) = blocks(ROOT / "docs/nninteractive.md", "python")
DRIVE = """
import hashlib, json, sys
import numpy as np
from nnInteractive.inference.remote import (
    ServerAtCapacityError, SessionExpiredError, nnInteractiveRemoteInferenceSession as Session,
)
image = np.load(sys.argv[2])
session = Session(sys.argv[1])
assert session.ping() and session.supports_undo and not session.supports_initial_label
assert session.idle_timeout_seconds == 600 and session.liveness_timeout_seconds == 60
session.set_image(image, {"spacing": np.array([2.0, 0.8, 0.8])})
assert session.original_image_shape == image.shape
session.set_target_buffer(np.zeros(image.shape[1:], np.uint8))

def said(*words):
    buffer = session.target_buffer
    print(json.dumps([hashlib.sha256(buffer.astype(np.uint8).tobytes()).hexdigest(), int(buffer.sum()), *words]))

said(session.add_point_interaction((12, 40, 50), include_interaction=True))
said(session.add_point_interaction((12, 70, 45), include_interaction=False))
said(session.undo())
session.add_point_interaction((12, 66, 44), include_interaction=False, run_prediction=False)
said(session._predict())
session.reset_interactions()
said()
said(session.add_bbox_interaction([[8, 16], [25, 55], [35, 65]], include_interaction=True))
session.reset_interactions()
session.set_target_buffer(np.zeros(image.shape[1:], bool))
scribble = np.zeros((1, 20, 30), np.uint8)
scribble[0, 9:11, 2:28] = 1
said(session.add_scribble_interaction(scribble, True, interaction_bbox=[[12, 13], [30, 50], [35, 65]]))
session.reset_interactions()
lasso = np.zeros(image.shape[1:], bool)
lasso[12, [30, 50], 40:61] = lasso[12, 30:51, [40, 60]] = True
said(session.add_lasso_interaction(lasso, True))
session.set_do_autozoom(False)
assert 590 < session.heartbeat() <= 600 and 590 < session.lease_status()["remaining_seconds"] <= 600
for ask, words in ((session.add_initial_seg_interaction, [lasso]), (session.add_point_interaction, [(99, 1, 1), True])):
    try:
        ask(*words)
    except Exception as error:
        print(json.dumps([type(error).__name__, error.response.status_code, error.response.json()["detail"]]))
others = [Session(sys.argv[1]) for _ in range(3)]
try:
    Session(sys.argv[1])
except ServerAtCapacityError as error:
    print(json.dumps([str(error)]))
for other in others:
    other.close()
session._http.post("/release")
try:
    session.undo()
except SessionExpiredError as error:
    print(json.dumps([str(error)]))
session.close()
"""


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    """Region growing, where the operator says that images are of CT."""
    setting = {"GATEWAY_NNINTERACTIVE": "/region-growing", "GATEWAY_NNINTERACTIVE_MODALITY": "CT"}
    return serve("tests.apps.clicking:app", MODELS="/region-growing", **setting)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The interpreter of an environment with the client."""
    folder = tmp_path_factory.mktemp("nninteractive")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, capture_output=True)
    install = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--retries", "1", PACKAGE]
    installed = subprocess.run(install, capture_output=True)
    require(installed.returncode == 0, f"{PACKAGE} can be installed from no package index here")
    yield folder / "venv/bin/python"
    shutil.rmtree(folder)


def ran(python: Path, program: str, *words: object) -> list[str]:
    done = subprocess.run(
        [python, "-c", program, *map(str, words)],
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def image() -> NDArray[np.int16]:
    """A cube with an arm, in some noise: (1, slice, row, column)."""
    values = (np.arange(24 * 96 * 100) * 7919 % 31).astype(np.int16).reshape(1, 24, 96, 100)
    cube = np.zeros(values.shape, bool)
    cube[0, 6:18, 20:60, 30:70] = cube[0, 10:14, 56:80, 40:50] = True
    values[cube] += 200
    return values


def regions() -> Iterator[NDArray[np.bool_]]:
    """Yield what region growing itself makes of the prompts that are one point or box."""
    growth = Growth(image()[0].astype(np.float32), np.array([2.0, 0.8, 0.8]), 50, 60)
    inside = Click(Point(12, 40, 50))
    for outside in (None, Point(12, 70, 45), None, Point(12, 66, 44)):
        clicks = (inside,) if outside is None else (inside, Click(outside, positive=False))
        yield growth.region(Clicks(clicks))
    yield np.zeros((24, 96, 100), bool)
    yield growth.region(Clicks(boxes=(BoxClick(Box(Point(8, 25, 35), Point(15, 54, 64))),)))


def test_the_client_drives_region_growing(server: Server, python: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", image())
    said = list(map(json.loads, ran(python, DRIVE, f"{server.url}/nninteractive", tmp_path / "image.npy")))
    expected = list(regions())
    for number, region in enumerate(expected):
        digest = hashlib.sha256(region.astype(np.uint8).tobytes()).hexdigest()
        assert said[number][:2] == [digest, int(region.sum())], number
    voxels = np.argwhere(expected[0])
    assert said[0][2] == np.stack([voxels.min(axis=0), voxels.max(axis=0) + 1], axis=1).tolist()
    assert 0 < expected[1].sum() < expected[0].sum()
    assert said[2][2] is True
    scribble, lasso, segmentation, outside, full, expired = said[6:]
    assert scribble[1] >= said[0][1]
    assert lasso[1:] == [21 * 21, [[12, 13], [30, 51], [40, 61]]]
    assert segmentation[:2] == ["HTTPStatusError", 422]
    assert outside[:2] == ["HTTPStatusError", 422]
    assert "session_caller_max" in full[0]
    assert "Connect again" in expired[0]


def test_the_example_of_the_page_runs(server: Server, python: Path) -> None:
    assert ran(python, EXAMPLE.text.replace("http://127.0.0.1:8900", server.url)) == ["15960 voxels"]
