"""``upload`` and ``bundle`` killed half way by signal 9, against a real gateway: run again, they move only the rest."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.dicom.samples import phantom
from tests.client.counting import Wire, wire
from tests.conftest import ROOT, Serve, Server

SLICES, SIZE = 64, 128
SPEED = 1 << 20
"""Bytes a second of each connection: 2 MiB take the half second in which a client can be killed."""
FRAMING = 1 << 14
"""Bytes of a manifest, the heads and the borders that go with a few chunks."""


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return serve("tests.apps.typed:app", GATEWAY_STORE_FOLDER=str(tmp_path_factory.mktemp("store")))


@pytest.fixture
def line(server: Server) -> Iterator[Wire]:
    with wire(server.port, SPEED) as counted:
        yield counted


@pytest.fixture
def study(tmp_path: Path) -> Path:
    phantom.write(tmp_path / "study", slices=SLICES, size=SIZE)
    return tmp_path / "study"


def start(line: Wire, tmp_path: Path, *words: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "gateway", *map(str, words), "-p", str(line.port), "--json"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kill_when(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "it was done before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate()


def run(line: Wire, tmp_path: Path, *words: object) -> dict[str, object]:
    line.settle()
    line.there = line.back = 0
    process = start(line, tmp_path, *words)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    found: dict[str, object] = json.loads(out)
    return found


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_an_upload_that_is_killed_and_run_again_sends_only_the_rest(
    server: Server, line: Wire, study: Path, tmp_path: Path
) -> None:
    whole = size_of(study)
    words = ("upload", "-i", study, "--chunk", 4, "--parallel", 2)
    kill_when(lambda: line.there > whole / 2, start(line, tmp_path, *words))
    assert line.there < whole
    again = run(line, tmp_path, *words)
    sent, bytes_sent = again["sent"], again["bytes_sent"]
    assert isinstance(sent, int) and isinstance(bytes_sent, int)
    assert SLICES / 4 < sent <= SLICES / 2 + 2 * 4, "of what was on its way, two chunks are sent twice"
    assert abs(bytes_sent - sent * whole / SLICES) < SLICES, "a slice is a byte or two longer than another"
    assert bytes_sent <= line.there <= bytes_sent + FRAMING + SLICES * 512
    assert run(line, tmp_path, *words)["sent"] == 0
    assert line.there < FRAMING + SLICES * 512
    assert "Traceback" not in server.log


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for number in range(64):
        path = tmp_path / "weights" / f"fold{number % 4}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * (1 << 15))
    return tmp_path / "weights"


def test_a_bundle_that_is_killed_on_its_way_moves_only_the_rest(
    server: Server, line: Wire, weights: Path, tmp_path: Path
) -> None:
    whole = size_of(weights)
    push = ("bundle", "push", "lungs", weights)
    kill_when(lambda: line.there > whole / 2, start(line, tmp_path, *push))
    again = run(line, tmp_path, *push)
    assert isinstance(again["bytes_moved"], int)
    assert whole / 4 < again["bytes_moved"] <= whole / 2 + 16 * (1 << 15), "a chunk is kept whole or not at all"
    assert again["bytes_moved"] <= line.there <= again["bytes_moved"] + 2 * FRAMING
    pull = ("bundle", "pull", "lungs", tmp_path / "out")
    line.back = 0
    kill_when(lambda: line.back > whole / 2, start(line, tmp_path, *pull))
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sum(name.startswith(".gateway-") for name in left) <= 1, "a half file has no name of the bundle's"
    for path in (tmp_path / "out").rglob(".gateway-*"):
        os.utime(path, (0, 0))
    again = run(line, tmp_path, *pull)
    assert isinstance(again["bytes_moved"], int)
    assert whole / 4 < again["bytes_moved"] <= whole / 2 + (1 << 15)
    assert list((tmp_path / "out").rglob(".gateway-*")) == [], "what is old was left by the dead"
    assert line.back <= again["bytes_moved"] + 3 * FRAMING
    for path in weights.rglob("*.bin"):
        assert (tmp_path / "out" / path.relative_to(weights)).read_bytes() == path.read_bytes()
    assert "Traceback" not in server.log
