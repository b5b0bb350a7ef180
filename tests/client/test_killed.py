"""``upload`` and ``bundle`` killed half way by signal 9, against a real gateway: run again, they move only the rest."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.dicom.samples import phantom
from tests.client.counting import PIECE, Wire, wire
from tests.conftest import ROOT, Serve, Server
from tests.waiting import eventually

SLICES, SIZE = 64, 128
FRAMING = 1 << 14
"""Bytes of a manifest, the heads and the borders that go with a few chunks."""


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return serve("tests.apps.typed:app", GATEWAY_STORE_FOLDER=str(tmp_path_factory.mktemp("store")))


@pytest.fixture
def line(server: Server) -> Iterator[Wire]:
    with wire(server.port) as counted:
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
    eventually(lambda: condition() or process.poll() is not None)
    assert process.poll() is None, "it was done before it was killed"
    process.kill()
    process.communicate()


def run(line: Wire, tmp_path: Path, *words: object) -> dict[str, object]:
    line.release()
    process = start(line, tmp_path, *words)
    out, err = process.communicate()
    assert process.returncode == 0, err
    found: dict[str, object] = json.loads(out)
    return found


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_an_upload_that_is_killed_and_run_again_sends_only_the_rest(
    server: Server, line: Wire, study: Path, tmp_path: Path
) -> None:
    whole = size_of(study)
    words = ("upload", "-i", study, "--chunk", 4, "--parallel", 2)
    line.most_there = whole / 2 - 2 * PIECE
    kill_when(lambda: line.held, start(line, tmp_path, *words))
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


@pytest.mark.slow
def test_a_bundle_that_is_killed_on_its_way_moves_only_the_rest(
    server: Server, line: Wire, weights: Path, tmp_path: Path
) -> None:
    whole = size_of(weights)
    push = ("bundle", "push", "lungs", weights)
    line.most_there = whole / 2 - 2 * PIECE
    kill_when(lambda: line.held, start(line, tmp_path, *push))
    again = run(line, tmp_path, *push)
    assert isinstance(again["bytes_moved"], int)
    assert whole / 4 < again["bytes_moved"] <= whole / 2 + 16 * (1 << 15), "a chunk is kept whole or not at all"
    assert again["bytes_moved"] <= line.there <= again["bytes_moved"] + 2 * FRAMING
    pull = ("bundle", "pull", "lungs", tmp_path / "out")
    line.release()
    line.most_back = whole / 2
    arrived = whole / 2 - 2 * (1 << 15)  # what is still on its way into a file is lost
    kill_when(lambda: line.held and size_of(tmp_path / "out") >= arrived, start(line, tmp_path, *pull))
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sum(name.startswith(".gateway-") for name in left) <= 1, "a half file has no name of the bundle's"
    for path in (tmp_path / "out").rglob(".gateway-*"):
        os.utime(path, (0, 0))
    again = run(line, tmp_path, *pull)
    assert isinstance(again["bytes_moved"], int)
    assert whole / 4 < again["bytes_moved"] <= whole / 2 + 3 * (1 << 15)
    assert list((tmp_path / "out").rglob(".gateway-*")) == [], "what is old was left by the dead"
    assert line.back <= again["bytes_moved"] + 3 * FRAMING
    for path in weights.rglob("*.bin"):
        assert (tmp_path / "out" / path.relative_to(weights)).read_bytes() == path.read_bytes()
    assert "Traceback" not in server.log
