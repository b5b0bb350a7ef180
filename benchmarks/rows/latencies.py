"""Latency of one small request on a persistent connection."""

from contextlib import ExitStack
from statistics import median

from benchmarks import pairs, servers
from benchmarks.client import Client
from benchmarks.results import Line, Plan, Samples
from benchmarks.studies import KiB, check, study

SMALL_PART = 640
"""Bytes of the one file, so that the body with its framing is 1 KiB."""
LIMITS = {"plain": 0.9, "constant view": 1.4}


def latency(plan: Plan) -> list[Line]:
    """Send 1 KiB to three servers in turn: this gateway, the plain one, a view that returns a constant."""
    sent = study(1, path="/tiny", part_size=SMALL_PART)
    servings = {"ours": servers.ours(), "plain": servers.plain(), "constant view": servers.constant()}
    with ExitStack() as stack:
        ports = {name: stack.enter_context(serving).port for name, serving in servings.items()}
        for name in ("ours", "plain"):
            check(sent, Client(ports[name]).post(sent))
        works = {name: pairs.unchecked(port, sent, keep_alive=True) for name, port in ports.items()}
        samples = pairs.alternate(plan.latency_requests, works)
    work = f"{sum(map(len, sent.pieces)) / KiB:.1f} KiB request, median latency"
    return [_line(work, samples, name, limit) for name, limit in LIMITS.items()]


def _line(work: str, samples: Samples, against: str, limit: float) -> Line:
    ours, baseline = (median(samples[name]) * 1000 for name in ("ours", against))
    return Line(
        work=work, unit="ms", ours=ours, baseline=baseline, against=against, ratio=ours / baseline,
        must_reach=f"ratio <= {limit:g}", met=ours / baseline <= limit,
        samples={name: samples[name] for name in ("ours", against)},
    )  # fmt: skip
