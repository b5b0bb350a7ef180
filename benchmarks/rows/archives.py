"""``batch`` over an archive of phantoms: two studies at once against one, and against decoding and predicting alone."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.pairs import Work
from benchmarks.results import Line, Plan, at_most
from gateway.dicom.samples import phantom

SLICES, SIZE = 28, 512
GAIN, ALONE_MAX = 1.6, 1.1
"""How much faster two jobs must be than one, and how much slower they may be than the bare work."""
ROUTE = "/segmentation-3d"
ALONE = """
import sys
from pathlib import Path
from gateway.dicom.reading.instances import read_study
from gateway.dicom.volumes.images import volume
from models.segmentation_3d import segment

for folder in sys.argv[1:]:
    segment(volume(read_study(Path(folder))))
"""
"""Reads, sorts and decodes each study, and calls the model; no answer is checked, encoded, hashed or written."""


def archives(plan: Plan) -> list[Line]:
    """Run the example model over an archive by ``batch`` with one job and with two, and in two bare processes."""
    with tempfile.TemporaryDirectory(prefix="bench-archive-") as name:
        folder = Path(name)
        studies = [folder / "archive" / f"{number:03}" for number in range(plan.archive)]
        for study in studies:
            phantom.write(study, slices=SLICES, size=SIZE, study=study.name)
        works: dict[str, Work] = {
            "ours": lambda: _batch(folder, jobs=2),
            "one job": lambda: _batch(folder, jobs=1),
            "alone": lambda: _alone(studies),
        }
        samples = {name: [work()] for name, work in works.items()}  # minutes each: the start-up is a part of them
    work = f"batch over {plan.archive} studies of {SLICES} slices of {SIZE} x {SIZE}, 2 jobs"
    return [at_most(1 / GAIN, work, samples, "ours", "one job"), at_most(ALONE_MAX, work, samples, "ours", "alone")]


def _batch(folder: Path, *, jobs: int) -> float:
    """Return the seconds of a batch, its start and its end included."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = ["-m", "gateway", "batch", "models.app:app", "-i", folder / "archive", "-o", Path(out, "out")]
        return _seconds([command + ["--model", ROUTE, "--jobs", str(jobs)]])


def _alone(studies: list[Path]) -> float:
    """Return the seconds of two bare processes with half of the studies each."""
    return _seconds([["-c", ALONE, *studies[half::2]] for half in (0, 1)])


def _seconds(commands: list[list[object]]) -> float:
    """Return the seconds of Python processes beside each other. Raises CalledProcessError."""
    started = time.perf_counter()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    running = [subprocess.Popen([sys.executable, *map(str, words)], env=environ) for words in commands]
    for process in running:
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, process.args)
    return time.perf_counter() - started
