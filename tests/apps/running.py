"""A service whose models take their time, die, hang and tell how far they are; served by the tests under gunicorn.

``MODELS`` names the routes to serve, since each may cost a process. What a model has to tell beside its answer it notes
in files below ``NOTES``, and takes its orders from there: ``broken`` makes setups raise, ``version`` is in answers;
``unimportable`` makes the import of this module raise, ``wait to start`` holds it up, ``take signals`` makes it take
the server's, and ``hold`` holds up a batch.
"""

import contextlib
import ctypes
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import flask
import numpy as np

from gateway import Batch, Classification, Execution, Gateway, Image, Request, StudyRefused, current_request
from gateway.errors import Cancelled, ParameterRefused, Unavailable
from tests.apps import odd

app = Gateway(__name__)
NOTES = Path(os.environ.get("NOTES", "/nonexistent"))
MEBIBYTE = 1 << 20


def note(name: str, text: object = "") -> None:
    """Note something for the test; one write for each line, so that concurrent lines stay whole."""
    if NOTES.is_dir():
        with (NOTES / name).open("a") as file:
            file.write(f"{os.getpid()} {text}\n")


def order(name: str) -> str:
    """The text that the test has set under a name; "" without one."""
    with contextlib.suppress(OSError):
        return (NOTES / name).read_text()
    return ""


def answer(**members):
    """An answer in words, and from which process."""
    return {"study_ml_json": {**members, "pid": os.getpid()}}, []


def echo(json_input, files, digest):
    """Describe the request, with the sha256 of all files."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.read())
    return answer(json=json_input, files=len(files), sha256=total.hexdigest())


def elements(json_input, files, digest):
    """The files as masks of one row, in each kind of memory that an answer may have."""
    ways = [lambda file: np.frombuffer(file.read(), np.uint8), _into_empty, lambda file: np.array(file.getbuffer())]
    arrays = [ways[number % 3](file) for number, file in enumerate(files)]
    parts = [
        {"binary_type": "boolean_mask", "binary_data_shape": {"depth": 1, "height": 1, "width": len(array)}}
        for array in arrays
    ]
    return {"parts": parts, "study_ml_json": {"json": json_input}}, [array.reshape(1, 1, -1) & 1 for array in arrays]


def _into_empty(file):
    buffer = current_request().empty([len(file)], np.uint8)
    file.readinto(buffer)
    return buffer


def mask(json_input, files, digest):
    """A mask, allocated where the answer leaves from."""
    shape = tuple(json_input["shape"])
    pixels = current_request().empty(shape, np.uint8)
    pixels[:] = 1
    size = dict(zip(("depth", "height", "width"), shape, strict=True))
    return {"parts": [{"binary_type": "boolean_mask", "binary_data_shape": size}]}, [pixels]


def sleeps(json_input, files, digest):
    """Run for a while, or until released, without checking for cancellation."""
    note("began", json_input.get("name", ""))
    time.sleep(float(json_input.get("seconds", 0)))
    while json_input.get("until") and not order(json_input["until"]):
        time.sleep(0.01)
    return answer()


def works(json_input, files, digest):
    """Run for a while, in steps, and stop when cancelled."""
    name, steps = json_input.get("name", ""), int(json_input.get("steps", 10))
    note("began", name)
    try:
        for step in range(steps):
            time.sleep(float(json_input["seconds"]) / steps)
            current_request().progress(step + 1, steps, "stepping")
    except Cancelled:
        note("raised", name)
        raise
    note("finished", name)
    return answer()


def watches(json_input, files, digest):
    """Wait until cancelled."""
    name = json_input.get("name", "")
    note("began", name)
    until = time.monotonic() + float(json_input["seconds"])
    while time.monotonic() < until and not current_request().cancelled():
        time.sleep(0.01)
    note("cancelled" if current_request().cancelled() else "finished", name)
    return answer()


def admitted(json_input, files, digest):
    """Wait for a ticket, which is used up, or until cancelled."""
    name = json_input.get("name", "")
    note("began", name)
    while not (cancelled := current_request().cancelled()) and not _took_ticket():
        time.sleep(0.01)
    note("cancelled" if cancelled else "finished", name)
    return answer()


def _took_ticket():
    for ticket in NOTES.glob("ticket*"):
        with contextlib.suppress(FileNotFoundError):  # another process has it
            ticket.unlink()
            return True
    return False


def dies(json_input, files, digest):
    """End the process in the requested way, or answer."""
    by = json_input.get("by")
    if by:
        note("dying", by)
    match by:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segv":
            ctypes.string_at(0)
        case "exit":
            os._exit(7)
        case "memory":
            _take_all_memory()
        case "leaving a child":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
            os.kill(os.getpid(), signal.SIGKILL)
    return answer()


def _take_all_memory():
    """Fail as a C++ runtime does: a failed allocation raises std::bad_alloc, which is not caught."""
    new = ctypes.CDLL("libstdc++.so.6")._Znwm  # operator new(unsigned long)
    new.argtypes, new.restype = [ctypes.c_size_t], ctypes.c_void_p
    while True:
        ctypes.memset(new(16 * MEBIBYTE), 1, 16 * MEBIBYTE)


def refuses(json_input, files, digest):
    """Fail in one of the ways that have words for the caller."""
    match json_input.get("with"):
        case "parameter":
            raise ParameterRefused(
                [("/threshold", "Input should be a number."), ("/side", "Input should be a string.")]
            )
        case "unavailable":
            raise Unavailable("The licence server is away.", retry_after=17)
        case "members":
            raise StudyRefused("This series is too thin.", slices=3)
        case "unspeakable":
            raise StudyRefused("This series is too thin.", slices=np.int64(3))
        case "text":
            raise RuntimeError("cannot read DOE^JANE")
        case "exit":
            raise SystemExit(3)
        case "nothing":
            return None
        case "promise":
            return {"parts": [{"binary_type": "boolean_mask"}]}, []
    raise StudyRefused("The series has 3 slices; at least 20 are needed.")


def together(jsons, files, digests):
    """Answer all at once, whatever their parameters; one poisoned request raises."""
    return [answer(n=members.get("n"), size=len(jsons)) for members in _digested(jsons)]


def apart(jsons, files, digests):
    """Answer requests with the same parameters at once."""
    assert all(members == jsons[0] for members in jsons)
    return [answer(size=len(jsons)) for _ in _digested(jsons)]


def _digested(jsons):
    note("batch", len(jsons))
    _hold()
    if any(members.get("poison") for members in jsons):
        raise RuntimeError("poison")
    return jsons


def _hold():
    while order("hold"):
        time.sleep(0.01)


def typed(images: list[Image], threshold: float = 0.5) -> list[Classification]:
    """Answer requests with the same threshold at once."""
    note("typed", f"{len(images)} {threshold}")
    _hold()
    return [Classification({"size": str(len(images)), "threshold": str(threshold)}) for _ in images]


def mixed(images: list[Image], threshold: list[float] = 0.5) -> list[Classification]:
    """Answer at once whatever the thresholds are."""
    _hold()
    return [Classification({"size": str(len(images)), "threshold": str(value)}) for value in threshold]


class Loaded:
    """A model that notes where it was loaded and closed; its set-up fails while it is ``broken``."""

    def setup(self) -> None:
        if order("broken"):
            raise RuntimeError(order("broken"))
        if order("exits in setup"):
            sys.exit(0)
        if order("dies in setup"):
            os._exit(7)
        note("setup")
        self.version = order("version")

    def predict(self, image: Request) -> Classification:
        return Classification({"pid": str(os.getpid()), "version": self.version})

    def close(self) -> None:
        note("closed")
        if order("exits in close"):
            sys.exit(3)


class Slow(Loaded):
    """One that is not to be had at once."""

    def setup(self) -> None:
        note("begun")
        while not order("go"):
            time.sleep(0.01)
        super().setup()


def _batch(size: int, *, mix: bool = False) -> Execution:
    return Execution(batch=Batch(max_size=size, max_wait_ms=200, mix_parameters=mix))


PLAIN = {
    "echo": (echo, None),
    "elements": (elements, None),
    "mask": (mask, None),
    "sleeps": (sleeps, None),
    "works": (works, None),
    "watches": (watches, None),
    "admitted": (admitted, None),
    "dies": (dies, None),
    "odd": (odd.predict, None),
    "refuses": (refuses, None),
    "one": (sleeps, Execution(concurrency=1, max_queue=1)),
    "brief": (sleeps, Execution(timeout=1)),
    "bounded": (echo, Execution(timeout=600)),
    "together": (together, _batch(4, mix=True)),
    "apart": (apart, _batch(4)),
}
TYPED = {
    "typed": (typed, _batch(4)),
    "mixed": (mixed, _batch(4, mix=True)),
    "loaded": (Loaded, None),
    "slow": (Slow, None),
}
while order("wait to start"):
    time.sleep(0.01)
if order("take signals"):
    odd.take_signals()
if order("unimportable"):
    raise ImportError(order("unimportable"))
for name in os.environ.get("MODELS", "echo").split():
    if name in PLAIN:
        app.add_inference_route(f"/{name}", PLAIN[name][0], execution=PLAIN[name][1])
    else:
        app.model(f"/{name}", execution=TYPED[name][1])(TYPED[name][0])


@app.after_request
def name_worker(response: flask.Response) -> flask.Response:
    """Tell the test which HTTP worker answered."""
    response.headers["X-Worker"] = str(os.getpid())
    return response
