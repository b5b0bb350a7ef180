"""A Ray cluster of three nodes on this machine: a node that is killed under load, and twice the load it can carry."""

import os
import time
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import generator, ready, servers, trees
from benchmarks.generator import Load, Order
from benchmarks.results import Line, Plan, skipped
from benchmarks.rows.clusters import CLIENTS, FOLDER, REPLICAS
from benchmarks.servers import ROOT
from benchmarks.studies import MiB

if TYPE_CHECKING:
    from tests.ray_cluster import RayCluster

EVERY, BACK, WINDOW = 45.0, 15.0, 3.0
"""Seconds between two kills, within which capacity is back, and over which it is counted."""
GOODPUT, FLAT = 0.9, 1.05
PART = MiB // 4
"""Enough to go through the object store."""
WORK = f"{REPLICAS} replicas of a model of 100 ms on three Ray nodes"


def ray_nodes(plan: Plan) -> list[Line]:
    """Measure what a killed node costs, and the goodput at twice the capacity."""
    if not os.environ.get(FOLDER):
        return [skipped(WORK, f"Ray is not here: name a folder that has it in {FOLDER}")]
    from tests.ray_cluster import cluster

    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ[FOLDER]]), "TMPDIR": "/tmp"}
    with cluster({**path, "BENCH_ROUTES": "/single"}) as nodes:
        options: dict[str, Any] = {**path, **nodes.variables, "GATEWAY_RAY": nodes.address}
        options.pop("BENCH_ROUTES")  # as ``kept`` gives it
        with servers.kept("/single", processes=REPLICAS, threads=24, **options) as server:
            ready.wait(server.port)
            return [*_overload(nodes, server.port, plan), *_killed(nodes, server.port)]


def _order(port: int, seconds: float, *, clients: int = 0, rate: float = 0.0) -> Order:
    return Order(ports=[port], asked=[("/single", {}, 1, PART)], seconds=seconds, clients=clients, rate=rate)


def _overload(nodes: "RayCluster", port: int, plan: Plan) -> Iterator[Line]:
    capacity = generator.run(_order(port, plan.capacity_seconds, clients=CLIENTS)).rate()
    with trees.sampled(lambda: _shared_mib(nodes), 1.0) as shared:
        load = generator.run(_order(port, plan.overload_seconds, rate=2 * capacity))
    goodput, hung = load.rate(), load.of(0)
    early, late = median(shared[len(shared) // 4 : len(shared) // 2]), median(shared[-len(shared) // 4 :])
    yield Line(
        work=f"{WORK}, open loop at twice the capacity: goodput", unit="/s", ours=goodput, baseline=capacity,
        against="closed loop", ratio=goodput / capacity, must_reach=f"ratio >= {GOODPUT:g}, none hangs",
        met=goodput / capacity >= GOODPUT and not hung, note=f"{len(load.replies)} requests, {len(hung)} unanswered",
    )  # fmt: skip
    yield Line(
        work=f"{WORK}, open loop at twice the capacity: shared memory of the nodes", unit="MiB", ours=late,
        baseline=early, against="the second quarter", ratio=late / early, must_reach=f"ratio <= {FLAT:g}",
        met=late / early <= FLAT, samples={"shared": shared},
    )  # fmt: skip


def _killed(nodes: "RayCluster", port: int) -> Iterator[Line]:
    """Kill a node after 15 s of load, and start it again at once."""
    began = time.monotonic()
    with generator.running(_order(port, BACK + EVERY, clients=CLIENTS)) as running:
        time.sleep(BACK)
        at = time.monotonic() - began
        nodes.kill(nodes.nodes[0])
        nodes.nodes[0] = nodes.start_node()
        load = running.result()
    failed = [reply for reply in load.replies if reply.status not in (200, 503)]
    back = _seconds_back(load, at)
    yield Line(
        work=f"{WORK}, one node killed: requests that fail", ours=len(failed), must_reach=f"<= {REPLICAS - 1}, all 502",
        met=len(failed) <= REPLICAS - 1 and all(reply.status == 502 for reply in failed),
        note=f"of {len(load.replies)}; a replica works at one request",
    )  # fmt: skip
    yield Line(
        work=f"{WORK}, one node killed: capacity back", unit="s", ours=back, must_reach=f"<= {BACK:g} s",
        met=back <= BACK,
    )  # fmt: skip


def _seconds_back(load: Load, at: float) -> float:
    """Seconds from the kill until the rate over a window is 0.9 of the one before."""
    ends = sorted(reply.due + reply.seconds for reply in load.of(200))
    before = sum(2 < end <= at for end in ends) / (at - 2)
    low = at + 1
    while low < load.seconds and sum(low - 0.001 < end <= low + WINDOW for end in ends) < 0.9 * before * WINDOW:
        low += 0.5
    return low - at


def _shared_mib(nodes: "RayCluster") -> float:
    """Return the MiB of shared memory in all nodes: their object stores."""
    return sum(trees.total(node.pid, "Pss_Shmem") for node in [nodes.head, *nodes.nodes]) / MiB
