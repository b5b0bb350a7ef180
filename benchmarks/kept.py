"""The gateway with slow models; ``BENCH_ROUTES`` names those to serve, since each has its own processes."""

import itertools
import os
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy

from benchmarks.models import Answer, tiny
from gateway import Batch, Classification, Execution, Gateway, current_request

BATCH_SECONDS = 0.1
"""What one run takes, of one request or of sixteen, as on a GPU that is far from full."""
BATCH = Batch(max_size=16, max_wait_ms=20)

app = Gateway(__name__)


def waits(json_input: dict[str, Any], files: list[BinaryIO], digest: str) -> Answer:
    """Take as long as the request says, or until a moment of the machine's monotonic clock."""
    time.sleep(json_input["seconds"] if "seconds" in json_input else max(0, json_input["until"] - time.monotonic()))
    return tiny(json_input, files, digest)


def holds(json_input: dict[str, Any], files: list[Any], digest: str) -> Answer:
    """Read every page of the study in place, and take as long as the request says."""
    views = [numpy.frombuffer(file.getbuffer(), numpy.uint8) for file in files]
    seen = sum(int(view[::4096].sum()) for view in views)
    time.sleep(json_input["seconds"])
    return {"protocol_version": "1.0", "study_ml_json": {"seen": seen}, "parts": []}, []


def single(json_input: dict[str, Any], files: list[BinaryIO], digest: str) -> Answer:
    """Run one request at a time."""
    time.sleep(BATCH_SECONDS)
    return tiny(json_input, files, digest)


def noted(json_input: dict[str, Any], files: list[BinaryIO], digest: str) -> Answer:
    """Run one request at a time, and note its id and the session of this process in the folder ``BENCH_NOTES``."""
    with Path(os.environ["BENCH_NOTES"], str(os.getpid())).open("a") as notes:
        notes.write(f"{current_request().request_id} {os.getsid(0)}\n")
    return single(json_input, files, digest)


def batched(jsons: list[dict[str, Any]], files: list[list[BinaryIO]], digests: list[str]) -> list[Answer]:
    """Run sixteen requests in the time of one."""
    time.sleep(BATCH_SECONDS)
    return [tiny(*one) for one in zip(jsons, files, digests, strict=True)]


def reports(json_input: dict[str, Any], files: list[BinaryIO], digest: str) -> Answer:
    """Report once a second, until nobody waits for the answer."""
    request = current_request()
    for second in itertools.count(1):
        request.progress(second, second + 1, "seconds")
        if request.cancelled():
            break
        time.sleep(1)
    return tiny(json_input, files, digest)


class Weights:
    """A model of ``BENCH_WEIGHTS`` MiB, every page of them touched."""

    def setup(self) -> None:
        """Load the weights."""
        self.weights = numpy.ones(int(os.environ["BENCH_WEIGHTS"]) << 20, numpy.uint8)

    def predict(self) -> Classification:
        """Read one of the weights."""
        return Classification({"weight": int(self.weights[0])})


PLAIN: dict[str, tuple[Any, Execution]] = {
    "/tiny": (tiny, Execution()),
    "/reports": (reports, Execution()),
    "/waits": (waits, Execution()),
    "/holds": (holds, Execution()),
    "/single": (single, Execution(concurrency=1)),
    "/noted": (noted, Execution(concurrency=1)),
    "/batched": (batched, Execution(batch=BATCH)),
}
for route in os.environ.get("BENCH_ROUTES", "").split():
    if route == "/weights":
        app.model(route)(Weights)
    else:
        app.add_inference_route(route, PLAIN[route][0], execution=PLAIN[route][1])
