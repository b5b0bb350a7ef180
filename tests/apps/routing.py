"""A service that rules send studies to; a test may have its processes killed at a stage of the way."""

import contextlib
import functools
import os
import signal
from pathlib import Path
from typing import Annotated

from gateway import BoundingBox, Gateway, Requires, Settings, Volume
from gateway.routing.judging import Judge
from gateway.routing.result_objects import ResultObjects
from gateway.routing.routing_engine import RoutingEngine
from gateway.routing.rule_runs import RuleRuns
from gateway.runs.attempts import Attempt
from gateway.runs.runs import Runs
from gateway.studies import delivery_rows, routing_rows

NOTES = Path(os.environ.get("TEST_NOTES", "/nonexistent"))

STAGES = {
    "before a round is judged": (Judge, "judge"),
    "while a round is judged": (routing_rows, "add"),
    "before its run is submitted": (Runs, "submit"),
    "once its run is submitted": (RuleRuns, "_follow"),
    "within its run": (Attempt, "_finish"),
    "once its run has ended": (RoutingEngine, "signalled"),
    "before its results are stored": (ResultObjects, "store"),
    "while its results are stored": (routing_rows, "note_own"),
    "while its delivery is queued": (delivery_rows, "queue"),
}
"""Where the first process that gets there is killed by signal 9: at the call of a function."""


def die_once(home, name):
    """Let one process be killed at a call of a function."""
    function = getattr(home, name)

    @functools.wraps(function)
    def deadly(*args, **kwargs):
        with contextlib.suppress(FileExistsError):
            (NOTES / "died").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(home, name, deadly)


if stage := os.environ.get("TEST_STAGE"):
    die_once(*STAGES[stage])

app = Gateway(__name__, settings=Settings.from_environment())


@app.model("/lungs")
def lungs(ct: Volume) -> BoundingBox:
    """Note the number of slices; return one box."""
    with (NOTES / "slices").open("ab", buffering=0) as file:
        file.write(f"{ct.array.shape[0]}\n".encode())
    return BoundingBox("lung", (1, 1), (3, 3), slice=0, of=ct)


@app.model("/thick")
def thick(ct: Annotated[Volume, Requires(min_slices=100)]) -> BoundingBox:
    """Refuse all but long series."""
    return BoundingBox("lung", (1, 1), (3, 3), slice=0, of=ct)
