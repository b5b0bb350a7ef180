"""Open-loop load at twice the capacity."""

from statistics import median
from typing import Any

from benchmarks import generator, ready, servers, trees
from benchmarks.generator import Load, Order
from benchmarks.results import Line, Plan
from benchmarks.rows.crowds import percentile
from benchmarks.rows.latencies import SMALL_PART
from benchmarks.servers import Server
from benchmarks.studies import MiB

SERVICE_SECONDS = 0.05
PLACES = 2
CLIENTS = 3 * PLACES
"""Of the closed loop: enough that no place is ever idle."""
GOODPUT = 0.95
FLAT = 1.02
FORMS: dict[str, dict[str, Any]] = {
    "2 model processes": {"processes": PLACES, "workers": 2},
    "inline": {"processes": 0, "workers": 1, "GATEWAY_CONCURRENCY": str(PLACES)},
}


def overload(plan: Plan) -> list[Line]:
    """Measure capacity in a closed loop before and after, and twice as much in an open one between."""
    return [line for form in FORMS for line in _lines(form, plan)]


def _lines(form: str, plan: Plan) -> list[Line]:
    with servers.kept("/waits", **FORMS[form]) as server:
        ready.wait(server.port)
        before = _closed(server, plan)
        with trees.sampled(lambda: trees.total(server.pid, "Rss") / MiB, 0.5) as resident:
            load = generator.run(_order(server, plan.overload_seconds, rate=2 * before))
        after = _closed(server, plan)
    return [_goodput_line(form, load, [before, after]), *_refusal_lines(form, load), _memory_line(form, resident)]


def _order(server: Server, seconds: float, *, rate: float = 0.0, clients: int = 0) -> Order:
    asked = [("/waits", {"seconds": SERVICE_SECONDS}, 1, SMALL_PART)]
    return Order(ports=[server.port], asked=asked, seconds=seconds, rate=rate, clients=clients)


def _closed(server: Server, plan: Plan) -> float:
    return generator.run(_order(server, plan.capacity_seconds, clients=CLIENTS)).rate()


def _goodput_line(form: str, load: Load, capacities: list[float]) -> Line:
    capacity = sum(capacities) / len(capacities)
    goodput = load.rate()
    return Line(
        work=f"open loop at twice the capacity, {form}: goodput", unit="/s", ours=goodput, baseline=capacity,
        against="closed loop", ratio=goodput / capacity, must_reach=f"ratio >= {GOODPUT:g}",
        met=goodput / capacity >= GOODPUT, samples={"capacity": capacities},
        note=f"{len(load.replies)} requests in {load.seconds:g} s, {len(load.of(200))} answered; the generator took "
        f"{load.busy:.0%} of a core and was {load.late * 1000:.0f} ms late at worst",
    )  # fmt: skip


def _refusal_lines(form: str, load: Load) -> list[Line]:
    refused = [reply.seconds * 1000 for reply in load.of(503) if reply.retry_after]
    strange = [one for one in load.replies if one.status != 200 and (one.status, one.retry_after) != (503, True)]
    limit, worst = SERVICE_SECONDS * 500, max(refused, default=0.0)
    return [
        Line(
            work=f"open loop at twice the capacity, {form}: slowest refusal", unit="ms", ours=worst,
            must_reach=f"<= {limit:g} ms", met=bool(refused) and worst <= limit, samples={"refused": refused},
            note=f"{len(refused)} refusals with 503 and Retry-After; median {median(refused or [0]):.1f} ms, "
            f"p99 {percentile(refused or [0], 99):.1f} ms",
        ),
        Line(
            work=f"open loop at twice the capacity, {form}: neither answer nor refusal", ours=len(strange),
            must_reach="0", met=not strange, note=str(strange[0]) if strange else "",
        ),
    ]  # fmt: skip


def _memory_line(form: str, resident: list[float]) -> Line:
    quarter = max(1, len(resident) // 4)
    early, late = median(resident[quarter : 2 * quarter] or resident), median(resident[-quarter:])
    return Line(
        work=f"open loop at twice the capacity, {form}: RSS of the last quarter", unit="MiB", ours=late,
        baseline=early, against="the second", ratio=late / early, must_reach=f"ratio <= {FLAT:g}",
        met=late / early <= FLAT, samples={"resident": resident},
    )  # fmt: skip
