"""A service whose models take their time, die, hang and tell how far they are; served by the tests under gunicorn."""

import ctypes
import hashlib
import os
import signal
import time

import numpy as np

from gateway import Batch, Gateway, Mask, Request, Running, StudyRefused, current_request

app = Gateway(__name__)


def echo(json_input, files, digest):
    """Say what arrived, in which process, and the sha256 of all files."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.read())
    found = {"json": json_input, "files": len(files), "sha256": total.hexdigest(), "pid": os.getpid()}
    return {"study_ml_json": found}, []


def sleeps(json_input, files, digest):
    """Take a while, without asking whether anyone still waits."""
    time.sleep(float(json_input["seconds"]))
    return {"study_ml_json": {"pid": os.getpid()}}, []


def works(json_input, files, digest):
    """Take a while, in steps, and stop when nobody waits."""
    steps = int(json_input.get("steps", 10))
    for step in range(steps):
        time.sleep(float(json_input["seconds"]) / steps)
        current_request().progress(step + 1, steps, "stepping")
    return {"study_ml_json": {"pid": os.getpid()}}, []


def dies(json_input, files, digest):
    """End the process in the way asked for, or answer."""
    match json_input.get("by"):
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segv":
            ctypes.string_at(0)
        case "exit":
            os._exit(7)
        case "memory":
            held = []
            while True:
                held.append(np.ones(1 << 24, np.uint8))
    return {"study_ml_json": {"pid": os.getpid()}}, []


def mask(json_input, files, digest):
    """A mask, allocated where the answer leaves from."""
    shape = tuple(json_input["shape"])
    found = current_request().empty(shape, np.uint8)
    found[:] = 1
    size = dict(zip(("depth", "height", "width"), shape, strict=True))
    return {"parts": [{"binary_type": "boolean_mask", "binary_data_shape": size}]}, [found]


def refuses(json_input, files, digest):
    """Refuse the study in words."""
    raise StudyRefused("The series has 3 slices; at least 20 are needed.")


def raises(json_input, files, digest):
    """Fail with a text that nobody outside may read."""
    raise RuntimeError("cannot read DOE^JANE")


def batched(jsons, files, digests):
    """Answer all at once, in a tenth of a second; one poisoned request raises."""
    time.sleep(0.1)
    if any(one.get("poison") for one in jsons):
        raise RuntimeError("poison")
    return [({"study_ml_json": {"n": one.get("n"), "size": len(jsons), "pid": os.getpid()}}, []) for one in jsons]


for handler in (echo, sleeps, works, dies, mask, refuses, raises):
    app.add_inference_route(f"/{handler.__name__}", handler)
app.add_inference_route("/one", sleeps, running=Running(concurrency=1, max_queue=1))
app.add_inference_route(
    "/batched", batched, running=Running(batch=Batch(max_size=16, max_wait_ms=20, mix_parameters=True))
)


@app.model("/loaded")
class Loaded:
    """A model that says which process it was loaded in."""

    def setup(self) -> None:
        self.pid = os.getpid()

    def predict(self, image: Request) -> list[Mask]:
        return []
