"""Models that take some time and then answer, refuse, fail or exceed the deadline; served for the tests of phases."""

import time
from pathlib import Path

from gateway import Batch, Execution, Gateway, StudyRefused

app = Gateway(__name__)
SECONDS = 0.1


def answers(json_input, files, digest):
    """Answer at once."""
    return {"study_ml_json": {"files": len(files)}}, []


def refuses(json_input, files, digest):
    """Refuse at once."""
    raise StudyRefused("The series is too thin.")


def fails(json_input, files, digest):
    """Fail after a while."""
    time.sleep(SECONDS)
    raise RuntimeError


def invalid(json_input, files, digest):
    """Fail after a while."""
    time.sleep(SECONDS)


def lasts(json_input, files, digest):
    """Exceed the deadline."""
    time.sleep(1)
    return {"study_ml_json": {}}, []


def _wait(json_input):
    while not Path(json_input["until"]).exists():
        time.sleep(0.01)


def one(json_input, files, digest):
    """Run until the named file exists."""
    _wait(json_input)
    return {"study_ml_json": {}}, []


def together(jsons, files, digests):
    """Answer all at once, when the file named is there."""
    _wait(jsons[0])
    return [({"study_ml_json": {}}, []) for _ in jsons]


for handler in (answers, refuses, fails, invalid):
    app.add_inference_route(f"/{handler.__name__}", handler)
app.add_inference_route("/lasts", lasts, execution=Execution(timeout=0.3))
app.add_inference_route("/one", one, execution=Execution(concurrency=1))
app.add_inference_route("/together", together, execution=Execution(batch=Batch(max_size=4, max_wait_ms=200)))
