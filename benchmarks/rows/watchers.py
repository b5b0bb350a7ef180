"""Watchers of a run's events: the memory of each, and the latency of other requests beside them."""

import json
import resource
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

from benchmarks import pairs, servers
from benchmarks.audience import watching
from benchmarks.client import Client
from benchmarks.memory import exact
from benchmarks.results import Line, Plan, Samples
from benchmarks.rows.crowds import percentile
from benchmarks.rows.latencies import SMALL_PART
from benchmarks.servers import Server
from benchmarks.studies import KiB, study

FILES = 4096
"""Open files that a server may have."""
EACH_KIB, SLOWER = 50, 1.5
WATCHED, ALONE = "watched", "unwatched"


def watchers(plan: Plan) -> list[Line]:
    """Send small requests to two servers in turn: one has watchers of a run that reports once a second."""
    with ExitStack() as stack:
        named = {name: stack.enter_context(_serving()) for name in (WATCHED, ALONE)}
        _asked(named, plan.warm_up)
        server, before = named[WATCHED], exact(named[WATCHED].worker)
        with watching(server.port, _submitted(server), plan.watchers) as events:
            each = (exact(server.worker) - before) / plan.watchers / KiB
            latencies = _asked(named, plan.latency_requests)
    work = f"{plan.watchers} watchers of a run that reports once a second"
    memory = Line(
        work=f"{work}: memory of each", unit="KiB", ours=each, must_reach=f"<= {EACH_KIB} KiB", met=each <= EACH_KIB,
        note=f"each saw {min(events)} to {max(events)} events",
    )  # fmt: skip
    return [memory, _beside(work, latencies)]


def _asked(named: dict[str, Server], requests: int) -> Samples:
    sent = study(1, path="/tiny", part_size=SMALL_PART)
    works = {name: pairs.unchecked(server.port, sent, keep_alive=True) for name, server in named.items()}
    return pairs.alternate(requests, works)


def _beside(work: str, latencies: Samples) -> Line:
    ours, alone = (percentile(latencies[name], 99) * 1000 for name in (WATCHED, ALONE))
    medians = [median(latencies[name]) * 1000 for name in (WATCHED, ALONE)]
    return Line(
        work=f"{work}: p99 of 1 KiB requests", unit="ms", ours=ours, baseline=alone, against=ALONE, ratio=ours / alone,
        must_reach=f"ratio <= {SLOWER:g}", met=ours / alone <= SLOWER, samples=latencies,
        note=f"median {medians[0]:.2f} ms against {medians[1]:.2f} ms",
    )  # fmt: skip


@contextmanager
def _serving() -> Iterator[Server]:
    """Serve with a store, with FILES open files at most."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, before[1]), before[1]))
        with servers.kept("/tiny /reports", processes=0, GATEWAY_STORE_FOLDER=folder) as server:
            yield server
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _submitted(server: Server) -> str:
    """Submit a run that reports until its server ends; return the path of its events."""
    answer = Client(server.port).post(study(0, path="/runs?route=/reports"))
    return str(json.loads(bytes(answer.body))["links"]["events"])
