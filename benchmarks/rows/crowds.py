"""Several clients at once on two workers: throughput, and the latency of ``/ping`` meanwhile."""

from statistics import median

from benchmarks import pairs, servers
from benchmarks.load import Load, burst
from benchmarks.results import Line, Plan, Samples, at_least
from benchmarks.servers import Server
from benchmarks.studies import MiB, Study, study

PING_LIMIT = 0.5


def many(plan: Plan) -> list[Line]:
    """Measure bursts on the two gateways in turn."""
    sent = study(plan.client_parts)
    with servers.ours(workers=2) as ours, servers.plain(workers=2) as plain:
        bursts = {"ours": _Bursts(ours, sent, plan), "plain": _Bursts(plain, sent, plan)}
        rates = pairs.alternate(plan.pairs, {name: each.throughput for name, each in bursts.items()})
    work = f"{plan.clients} clients x {sent.size / MiB:.0f} MiB, 2 workers"
    refused = sum(each.refused for each in bursts["ours"].loads)
    note = f"{refused} of our answers were 503 and the client retried after Retry-After"
    return [
        at_least(1.3, f"{work}: throughput", rates, note=note if refused else ""),
        _ping_line(f"{work}: `/ping` p99", {name: each.pings() for name, each in bursts.items()}),
    ]


class _Bursts:
    def __init__(self, server: Server, sent: Study, plan: Plan) -> None:
        self._server, self._sent, self._plan = server, sent, plan
        self.loads: list[Load] = []

    def throughput(self) -> float:
        """MiB a second of one burst."""
        self.loads.append(burst(self._server.port, self._sent, self._plan.clients, self._plan.client_requests))
        return self.loads[-1].throughput

    def pings(self) -> list[float]:
        """Milliseconds of every ping of the rounds that count."""
        return [seconds * 1000 for each in self.loads[1:] for seconds in each.pings]


def _ping_line(work: str, pings: Samples) -> Line:
    ours, plain = (percentile(pings[name], 99) for name in ("ours", "plain"))
    return Line(
        work=work, unit="ms", ours=ours, baseline=plain, against="plain", ratio=ours / plain,
        must_reach=f"ratio <= {PING_LIMIT:g}", met=ours / plain <= PING_LIMIT, samples=pings,
        note=f"median {median(pings['ours']):.1f} ms against {median(pings['plain']):.1f} ms; "
        f"{len(pings['ours'])} and {len(pings['plain'])} pings on fresh connections",
    )  # fmt: skip


def percentile(values: list[float], percent: int) -> float:
    """Return the value that ``percent`` of all do not exceed (nearest rank)."""
    return sorted(values)[-(-len(values) * percent // 100) - 1]
