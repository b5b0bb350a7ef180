"""Models as actors of Ray, on a cluster of this machine: the way to one, and four of them against one.

Ray is large, and lives in a folder of its own, which ``BENCH_RAY`` names; ``pip install --target`` makes one, with
``ray[serve]`` for the comparison with Ray Serve.
"""

import os
import socket
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import pairs, ready, servers
from benchmarks.generator import Order, run
from benchmarks.results import Line, Plan, Samples, at_most, skipped
from benchmarks.rows.latencies import SMALL_PART
from benchmarks.servers import ROOT, Serving
from benchmarks.studies import PART_SIZE, MiB, Study, study

FOLDER = "BENCH_RAY"
STUDY, DEPTH = 32 * MiB, 32
"""A study of 32 MiB, and a mask of 8 MiB."""
SAME = "Ray Serve, same work and answer"
BYTES = "Ray Serve, body not read"
"""Ray Serve's own HTTP with parts, hashes and answer as the gateway has them; and with a body that nobody looks at."""
ADDED_MS, SHARE = 60.0, 0.5
REPLICAS, CLIENTS, GAIN = 4, 16, 3.6
WORK = f"{STUDY // MiB} MiB study to a Ray actor of the same machine, and a mask of 8 MiB"
SCALED = f"{REPLICAS} replicas of a model of 100 ms in a Ray cluster, {CLIENTS} clients"


def ray_actors(plan: Plan) -> list[Line]:
    """Measure the way to an actor, and the throughput of several."""
    if not os.environ.get(FOLDER):
        reason = f"Ray is not here: name a folder that has it in {FOLDER}"
        return [skipped(WORK, reason), skipped(SCALED, reason)]
    return [*_hop(plan), _scaled(plan)]


def _variables() -> dict[str, Any]:
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ[FOLDER]]), "TMPDIR": "/tmp"}


def _hop(plan: Plan) -> list[Line]:
    sent = study(STUDY // PART_SIZE, depth=DEPTH)
    serves = (Path(os.environ[FOLDER]) / "starlette").is_dir()
    with ExitStack() as stack:
        forms = {"inline": servers.ours(), "ray": servers.ours(GATEWAY_RAY="local", **_variables())}
        started = {name: stack.enter_context(serving) for name, serving in forms.items()}
        for server in started.values():
            ready.wait(server.port)
        works = {name: pairs.exchange(server.port, sent) for name, server in started.items()}
        if serves:
            port = stack.enter_context(_serve()).port
            works[SAME] = pairs.exchange(port, replace(sent, head=_to("/same", sent)))
            works[BYTES] = pairs.unchecked(port, replace(sent, head=_to("/bytes", sent)))
        times = pairs.alternate(plan.hops, works)
    rows = [_added(times)]
    rows += [at_most(SHARE, WORK, times, "ray", each) for each in (SAME, BYTES) if each in times]
    return rows if serves else [*rows, skipped(WORK, "ray[serve] is not here")]


def _to(path: str, sent: Study) -> bytes:
    """The head of a study that goes to another path of its server."""
    return sent.head.replace(b"POST / ", f"POST {path} ".encode(), 1)


def _serve() -> Serving:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = ROOT / "benchmarks/peer_apps/ray_serve_app.py"
    return servers.run([sys.executable, str(app)], {**_variables(), "BENCH_PORT": str(port)})


def _added(times: Samples) -> Line:
    ray, inline = (median(times[name]) * 1000 for name in ("ray", "inline"))
    added = median(a - b for a, b in zip(times["ray"], times["inline"], strict=True)) * 1000
    return Line(
        work=WORK, unit="ms", ours=ray, baseline=inline, against="inline", ratio=ray / inline,
        must_reach=f"added <= {ADDED_MS:g} ms", met=added <= ADDED_MS, note=f"the way adds {added:.1f} ms",
        samples=times,
    )  # fmt: skip


def _scaled(plan: Plan) -> Line:
    rates: Samples = {"four": [_rate(REPLICAS, plan)], "one": [_rate(1, plan)]}
    four, one = rates["four"][0], rates["one"][0]
    return Line(
        work=f"{SCALED}: throughput", unit="/s", ours=four, baseline=one, against="one replica", ratio=four / one,
        must_reach=f"ratio >= {GAIN:g}", met=four / one >= GAIN, samples=rates,
    )  # fmt: skip


def _rate(replicas: int, plan: Plan) -> float:
    """Return the answers a second. Raises ValueError for a failed request."""
    with servers.kept("/single", processes=replicas, threads=24, GATEWAY_RAY="local", **_variables()) as server:
        ready.wait(server.port)
        order = Order(
            ports=[server.port], asked=[("/single", {}, 1, SMALL_PART)], seconds=plan.batch_seconds, clients=CLIENTS
        )
        load = run(order)
    if bad := [reply for reply in load.replies if reply.status != 200]:
        raise ValueError(f"{len(bad)} of {len(load.replies)} failed, the first with {bad[0]}")
    return load.rate()
