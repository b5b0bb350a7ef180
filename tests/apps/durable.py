"""A service whose models note their executions, and wait, refuse, fail or die as told; for the tests of runs."""

import functools
import os
import signal
import time
from pathlib import Path

from gateway import Classification, Gateway, Settings
from gateway.contract.execution import Execution
from gateway.contract.requests import current_request
from gateway.errors import StudyRefused
from gateway.runs.attempts import Attempt
from gateway.runs.dispatcher import Dispatcher
from gateway.runs.ledger import Changes
from gateway.runs.signals import PostgresSignals, SocketSignals

NOTES = Path(os.environ.get("TEST_NOTES", "/nonexistent"))


STAGES: dict[str, list[tuple[type, str]]] = {
    "before it is claimed": [(Dispatcher, "_begin")],
    "before its input is opened": [(Attempt, "_input")],
    "before its request is received": [(Attempt, "_receive")],
    "before its answer is stored": [(Attempt, "_finish")],
    "while its answer is stored": [(Changes, "explain"), (Changes, "make_room")],
    "before its end is signalled": [(SocketSignals, "announced"), (PostgresSignals, "announced")],
}
"""Where the first process that gets there is killed by signal 9: at the call of a function."""


def die_once(home, name):
    """Let one process be killed at a call of a function, once the test has armed it."""
    function = getattr(home, name)

    @functools.wraps(function)
    def deadly(*args, **kwargs):
        if (NOTES / "armed").exists():
            try:
                (NOTES / "died").touch(exist_ok=False)
            except FileExistsError:
                return function(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(home, name, deadly)


def note(line):
    """Append a line, whole or not at all."""
    with (NOTES / "executions").open("ab", buffering=0) as file:
        file.write(f"{line} {os.getpid()}\n".encode())


def quick(json_input, files, digest):
    """Return the sizes of the files."""
    return {"study_ml_json": {"sizes": [len(file.read()) for file in files], "json": json_input}}, []


def told(json_input, files, digest):
    """Note the begin, report, wait for a file, and note the end."""
    name, request = json_input["name"], current_request()
    note(f"begin {name}")
    request.progress(1, 3, f"one third of {name}")
    request.log(f"a line of {name}")
    while not (NOTES / f"go {name}").exists():
        time.sleep(0.01)
        if request.cancelled():
            note(f"cancelled {name}")
            request.progress(1, 3)
    note(f"end {name}")
    return {"study_ml_json": {"name": name}}, []


def counted(json_input, files, digest):
    """Note begin and end around a sleep; answer with so many characters."""
    note(f"begin {json_input['name']}")
    time.sleep(json_input.get("seconds", 0))
    note(f"end {json_input['name']}")
    return {"study_ml_json": {"name": json_input["name"], "text": "x" * json_input.get("size", 0)}}, []


def asks(json_input, files, digest):
    """Ask the caller twice; return the answers."""
    request = current_request()
    return {"study_ml_json": {"answers": [request.ask({"number": 1}), request.ask({"number": 2})]}}, []


def refuses(json_input, files, digest):
    """Refuse every study."""
    note("begin refuses")
    raise StudyRefused("A study of MR is needed.")


def fails(json_input, files, digest):
    """Raise."""
    note("begin fails")
    raise ValueError(json_input["name"])


def versioned(threshold: float = 0.5) -> Classification:
    """Answer the same always."""
    return Classification({"finding": threshold})


def dies(json_input, files, digest):
    """Kill its own process."""
    note("begin dies")
    os.kill(os.getpid(), signal.SIGKILL)


def make(settings: Settings | None = None) -> Gateway:
    """The service with settings of a test's own."""
    made = Gateway(__name__, settings=settings)
    for model in (quick, told, counted, asks, refuses, fails, dies):
        made.add_inference_route(f"/{model.__name__}", model)
    made.add_inference_route("/single", told, execution=Execution(concurrency=1))
    made.model("/versioned", version="2.0")(versioned)
    return made


for home, name in STAGES.get(os.environ.get("TEST_STAGE", ""), []):
    die_once(home, name)
app = make()
