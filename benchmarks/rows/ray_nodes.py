"""A Ray cluster of three nodes on this machine: more replicas, twice the load they can carry, and killed nodes."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import generator, node_kills, object_store, ready, servers, trees
from benchmarks.generator import Order
from benchmarks.object_store import ObjectStore, Stored
from benchmarks.results import Line, Plan, skipped
from benchmarks.rows.clusters import CLIENTS, FOLDER, GAIN, REPLICAS
from benchmarks.servers import ROOT
from benchmarks.studies import MiB

if TYPE_CHECKING:
    from tests.ray_cluster import RayCluster

ROUTE = "/noted"
EVERY, BACK = 45.0, 15.0
"""Seconds between two kills, and within which capacity is back."""
GOODPUT, FLAT = 0.9, 1.25
"""The latter for the object stores, medians of whose samples vary: Ray frees copies on other nodes once a second."""
PART = MiB
"""Bytes of a study, which goes through the object store: each that stays there is seen."""
LOOK = 0.3
"""Seconds between two looks into the object stores: no part of the second after which Ray frees objects."""
SETTLED = 5.0
"""Seconds after the last answer in which its objects leave the stores."""
WORK = f"{REPLICAS} replicas of a model of 100 ms on three Ray nodes"


def ray_nodes(plan: Plan) -> list[Line]:
    """Measure what four replicas gain, the goodput at twice their capacity, and what killed nodes cost."""
    if not os.environ.get(FOLDER):
        return [skipped(WORK, f"Ray is not here: name a folder that has it in {FOLDER}")]
    from tests.ray_cluster import cluster

    with tempfile.TemporaryDirectory(prefix="bench-notes-") as notes:
        path = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ[FOLDER]]), "TMPDIR": "/tmp"}
        with cluster({**path, "BENCH_ROUTES": ROUTE, "BENCH_NOTES": notes}) as nodes:
            with _serving(nodes, 1) as port:
                one = _capacity(port, plan)
            with _serving(nodes, REPLICAS) as port:
                four = _capacity(port, plan)
                return [_gain(four, one), *_overload(nodes, port, four, plan), *_killed(nodes, port, Path(notes), plan)]


@contextlib.contextmanager
def _serving(nodes: "RayCluster", replicas: int) -> Iterator[int]:
    options: dict[str, Any] = {**nodes.variables, "GATEWAY_RAY": nodes.address}
    options.pop("BENCH_ROUTES")  # as ``kept`` gives it
    with servers.kept(ROUTE, processes=replicas, threads=24, **options) as server:
        ready.wait(server.port)
        yield server.port


def _order(port: int, seconds: float, *, clients: int = 0, rate: float = 0.0) -> Order:
    return Order(ports=[port], asked=[(ROUTE, {}, 1, PART)], seconds=seconds, clients=clients, rate=rate)


def _capacity(port: int, plan: Plan) -> float:
    """Return the answers a second. Raises ValueError for a failed request."""
    load = generator.run(_order(port, plan.capacity_seconds, clients=CLIENTS))
    if bad := [reply for reply in load.replies if reply.status != 200]:
        raise ValueError(f"{len(bad)} of {len(load.replies)} failed, the first with {bad[0]}")
    return load.rate()


def _gain(four: float, one: float) -> Line:
    return Line(
        work=f"{WORK}, {CLIENTS} clients: throughput", unit="/s", ours=four, baseline=one, against="one replica",
        ratio=four / one, must_reach=f"ratio >= {GAIN:g}", met=four / one >= GAIN,
    )  # fmt: skip


def _overload(nodes: "RayCluster", port: int, capacity: float, plan: Plan) -> Iterator[Line]:
    with object_store.opened(nodes.address, {**os.environ, **nodes.variables}) as store:
        with trees.sampled(store.read, LOOK) as looks:
            load = generator.run(_order(port, plan.overload_seconds, rate=2 * capacity))
        after = _settled(store)
    goodput, strange = load.rate(), [one for one in load.replies if one.status not in (200, 503)]
    yield Line(
        work=f"{WORK}, open loop at twice the capacity: goodput", unit="/s", ours=goodput, baseline=capacity,
        against="closed loop", ratio=goodput / capacity, must_reach=f"ratio >= {GOODPUT:g}",
        met=goodput / capacity >= GOODPUT,
        note=f"{len(load.replies)} requests in {load.seconds:g} s, {len(load.of(200))} answered, the others refused "
        f"with 503; the slowest took {max(one.seconds for one in load.replies):.2f} s",
    )  # fmt: skip
    yield Line(
        work=f"{WORK}, open loop at twice the capacity: neither answer nor refusal", ours=len(strange), must_reach="0",
        met=not strange, note=str(strange[0]) if strange else "",
    )  # fmt: skip
    yield _flat(looks, after)


def _settled(store: ObjectStore) -> Stored:
    """Look until nothing is stored, or for some seconds: the last answers leave soon after they were read."""
    for _ in range(round(SETTLED / LOOK)):
        if not store.read().objects:
            break
        time.sleep(LOOK)
    return store.read()


def _flat(looks: list[Stored], after: Stored) -> Line:
    sizes = [look.size / MiB for look in looks]
    quarter = len(sizes) // 4
    early, late = median(sizes[quarter : 2 * quarter]), median(sizes[-quarter:])
    return Line(
        work=f"{WORK}, open loop at twice the capacity: object stores", unit="MiB", ours=late, baseline=early,
        against="the second quarter", ratio=late / early, must_reach=f"ratio <= {FLAT:g}, none after",
        met=late / early <= FLAT and not after.objects,
        note=f"studies of {PART // MiB} MiB; {max(sizes):.1f} MiB at most, {after.objects} objects after it, "
        f"{after.spilled} spilled",
        samples={"size": sizes},
    )  # fmt: skip


def _killed(nodes: "RayCluster", port: int, notes: Path, plan: Plan) -> Iterator[Line]:
    seconds = BACK + EVERY * plan.node_kills
    with generator.running(_order(port, seconds, clients=CLIENTS)) as running:
        began, kills = time.monotonic(), []
        for number in range(plan.node_kills):
            time.sleep(max(0.0, began + BACK + EVERY * number - time.monotonic()))
            kills.append(node_kills.kill(nodes, number % len(nodes.nodes), began))
        load = running.result()
    failures = node_kills.sorted_failures(load, kills, node_kills.sessions(notes))
    replicas, back = node_kills.replicas_of(kills, notes), node_kills.seconds_back(load, kills)
    failed = len(failures.there) + len(failures.on_the_way)
    yield Line(
        work=f"{WORK}, {len(kills)} nodes killed: others' requests that fail", ours=len(failures.elsewhere),
        must_reach="0", met=not failures.elsewhere and failed <= sum(replicas),
        note=f"of {len(load.replies)} requests {len(failures.there)} failed in one of the {sum(replicas)} replicas of "
        f"the killed nodes, and {len(failures.on_the_way)} on the way there; {len(load.of(503))} were refused"
        + (f"; {failures.elsewhere[0]}" if failures.elsewhere else ""),
    )  # fmt: skip
    yield Line(
        work=f"{WORK}, {len(kills)} nodes killed: capacity back, worst", unit="s", ours=max(back),
        must_reach=f"<= {BACK:g} s", met=max(back) <= BACK,
        note=f"after {', '.join(f'{one:.1f}' for one in back)} s; the bench had started the node again after "
        f"{', '.join(f'{kill.again - kill.at:.1f}' for kill in kills)} s",
        samples={"back": back},
    )  # fmt: skip
