"""Runs of a model that takes no time, on a store in SQLite: how much later than a request, and how many a second."""

import http.client
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks import pairs, servers
from benchmarks.results import Line, Plan
from benchmarks.rows.latencies import SMALL_PART
from benchmarks.studies import BOUNDARY, study

MORE_MS, RATE = 150.0, 30.0
"""What a run may take beyond its request at the median, and how many must end in a second."""
CLIENTS = 4
HEADERS = {"Content-Type": f'multipart/related; boundary="{BOUNDARY}"'}
BODY = b"".join(study(1, path="/tiny", part_size=SMALL_PART).pieces)


class Caller:
    """A client of runs on one persistent connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Send a request, and return the JSON of its answer; None for another answer."""
        self._connection.request(method, path, body, HEADERS if body else {})
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:200]!r}")
        return json.loads(data) if answer.headers.get_content_type() == "application/json" else None

    def request(self) -> float:
        """Return the seconds of one request."""
        return _timed(lambda: self.ask("POST", "/tiny", BODY))

    def run(self) -> float:
        """Return the seconds from the submission of a run until its result is known, by long poll."""
        return _timed(lambda: self.ended(self.submit()))

    def submit(self) -> Any:
        """Submit a run."""
        return self.ask("POST", "/runs?route=/tiny", BODY)

    def ended(self, run: Any) -> None:
        """Wait for its end."""
        while not run["ended"]:
            run = self.ask("GET", f"{run['links']['self']}?wait=30&after={run['sequence']}")
        if run["state"] != "finished":
            raise RuntimeError(f"a run is {run['state']}: {run['problem']}")


def runs(plan: Plan) -> list[Line]:
    """Measure one caller's runs beside its requests, then the runs of several callers at once."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-runs-"))
        port = stack.enter_context(servers.ours(workers=2, GATEWAY_STORE_FOLDER=folder)).port
        caller = Caller(port)
        samples = pairs.alternate(plan.runs, {"ours": caller.run, "request": caller.request})
        rate = _rate(port, plan.runs * 4)
    ours, baseline = (median(samples[name]) * 1000 for name in ("ours", "request"))
    return [
        Line(
            work="run of a model that takes no time, submitted until its result is known, SQLite", unit="ms",
            ours=ours, baseline=baseline, against="request", ratio=ours / baseline,
            must_reach=f"<= {MORE_MS:g} ms more", met=ours - baseline <= MORE_MS, samples=samples,
        ),
        Line(
            work=f"such runs of {CLIENTS} callers at once, SQLite", unit="/s", ours=rate,
            must_reach=f">= {RATE:g}/s", met=rate >= RATE,
        ),
    ]  # fmt: skip


def _rate(port: int, count: int) -> float:
    """Return the runs a second, from the first submission to the last end."""

    def work(number: int) -> None:
        caller = Caller(port)
        for run in [caller.submit() for _ in range(number)]:
            caller.ended(run)

    with ThreadPoolExecutor(CLIENTS) as threads:
        return count / _timed(lambda: list(threads.map(work, [count // CLIENTS] * CLIENTS)))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
