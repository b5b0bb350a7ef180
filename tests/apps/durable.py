"""A service whose models note their executions, and wait, refuse, fail or die as told; for the tests of runs."""

import functools
import os
import signal
import time
from pathlib import Path

import numpy as np

from gateway import Ask, Classification, Gateway, Interactive, Preview, Request, Settings
from gateway.contract.execution import Execution
from gateway.contract.requests import current_request
from gateway.errors import StudyRefused
from gateway.runs.attempts import Attempt
from gateway.runs.conversations import Conversation
from gateway.runs.dispatcher import Dispatcher
from gateway.runs.ledger import Changes
from gateway.runs.signals import PostgresSignals, SocketSignals

SECRET = "open sesame 4711"
"""A password that must not be found anywhere."""
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
QUESTIONS: dict[str, list[tuple[type, str]]] = {
    "before it asks": [(Conversation, "_ask")],
    "once it has asked": [(Conversation, "_answer")],
    "once it is answered": [(Conversation, "_read")],
}
"""Such places of a run that asks."""


def die_once(home, name, *, whole_host=False):
    """Let one process, or its whole server, be killed at a call of a function, once the test has armed it."""
    function = getattr(home, name)

    @functools.wraps(function)
    def deadly(*args, **kwargs):
        if (NOTES / "armed").exists():
            try:
                (NOTES / "died").touch(exist_ok=False)
            except FileExistsError:
                return function(*args, **kwargs)
            os.killpg(0, signal.SIGKILL) if whole_host else os.kill(os.getpid(), signal.SIGKILL)
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


def guided(request: Request, name: str = "", path: str = "") -> Interactive[Classification]:
    """Note each step, and ask for a point, a choice and a number; ``path`` has another choice while it exists."""
    note(f"begin {name}")
    request.log("it begins")
    yield Preview(np.zeros((4, 4), np.uint8), "the first picture")
    try:
        point = yield Ask("Where?", kind="point")
        note(f"point {name}")
        yield Preview(np.zeros((4, 4), np.uint8), "the second picture")
        choices = ("a", "b", "c") if path and Path(path).exists() else ("a", "b")
        choice = yield Ask("Which?", kind="choice", choices=choices, shown=Classification({"so far": list(point)}))
        note(f"choice {name}")
        number = yield Ask("How many?", kind="number")
    finally:
        note(f"finally {name}")
    return Classification({"point": list(point), "choice": choice, "number": number})


def secretive(name: str = "") -> Interactive[Classification]:
    """Ask for a name, a password and a number; note the password, which a test plants."""
    who = yield Ask("Who?")
    password = yield Ask("Password?", kind="password")
    note(f"opened {name}")
    number = yield Ask("How many?", kind="number")
    return Classification({"who": who, "right": password == SECRET, "number": number})


def endless() -> Interactive[Classification]:
    """Ask without end."""
    while True:
        yield Ask("Why?")


def make(settings: Settings | None = None) -> Gateway:
    """The service with settings of a test's own."""
    made = Gateway(__name__, settings=settings)
    for model in (quick, told, counted, asks, refuses, fails, dies):
        made.add_inference_route(f"/{model.__name__}", model)
    made.add_inference_route("/single", told, execution=Execution(concurrency=1))
    made.model("/versioned", version="2.0")(versioned)
    for model in (guided, secretive, endless):
        made.model(f"/{model.__name__}")(model)
    return made


for home, name in (STAGES | QUESTIONS).get(os.environ.get("TEST_STAGE", ""), []):
    die_once(home, name)
app = make()
