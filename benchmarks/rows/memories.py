"""Peak memory of a worker, and the growth of time with the size of a study."""

from dataclasses import replace

from benchmarks import memory, pairs, servers
from benchmarks.client import Client
from benchmarks.models import SLICE
from benchmarks.results import Line, Plan, Samples, at_most
from benchmarks.rows.walls import first_row
from benchmarks.servers import Server
from benchmarks.studies import MiB, Study, check, study

NEVER_SPOOLED = str(1 << 40)
SPOOLED = str(8 * MiB)
"""A spool threshold below all studies of these rows."""
ALLOWANCE = 80
"""MiB for the interpreter, its libraries, and what is under way."""
ANONYMOUS_ALLOWANCE = 96
FLAT = 16
"""MiB that the peak may rise from 64 MiB to 1 GiB."""


def in_memory(plan: Plan) -> list[Line]:
    """Measure peak RSS when the body stays in memory: the payload once, the model's mask, the allowance."""
    sent = study(plan.parts, depth=plan.depth)
    limit = sent.size / MiB + _mask(plan) + ALLOWANCE
    with servers.ours(GATEWAY_SPOOL_THRESHOLD=NEVER_SPOOLED) as ours, servers.plain() as plain:
        works = {"ours": _Peak(ours, sent).high_water, "plain": _Peak(plain, sent).high_water}
        samples = pairs.alternate(plan.pairs, works)
    return [_line(f"{first_row(plan)}, memory mode: peak RSS", samples, limit)]


def spooled(plan: Plan) -> list[Line]:
    """Measure peak anonymous memory when the body is spooled and the model reads part by part."""
    sent = study(plan.parts, depth=plan.depth, path="/reads")
    with servers.ours(GATEWAY_SPOOL_THRESHOLD=SPOOLED) as ours, servers.plain() as plain:
        probe = _Peak(ours, sent)
        samples = pairs.alternate(plan.pairs, {"ours": probe.anonymous, "plain": _Peak(plain, sent).anonymous})
    line = _line(
        f"{first_row(plan)}, spooled, read part by part: peak RssAnon", samples, _mask(plan) + ANONYMOUS_ALLOWANCE
    )
    beside = ", ".join(f"{kind} {probe.largest[kind] / MiB:.0f} MiB" for kind in ("RssFile", "RssShmem"))
    return [replace(line, note=f"{beside}; {_mask(plan):.0f} MiB of the bound are the model's mask")]


def gigabyte(plan: Plan) -> list[Line]:
    """Compare a study of 1 GiB with one of 64 MiB, both spooled: time for each byte, and memory."""
    small, large = (study(parts, path="/reads") for parts in (plan.small_parts, plan.gigabyte_parts))
    against = f"{small.size / MiB:.0f} MiB"
    with servers.ours(GATEWAY_SPOOL_THRESHOLD=SPOOLED) as ours:
        light, heavy = _Peak(ours, small), _Peak(ours, large)
        times = pairs.alternate(plan.pairs, {"ours": heavy.time_per_gib, against: light.time_per_gib})
    work = f"{large.size / MiB:,.0f} MiB study, spooled"
    return [
        at_most(1.15, f"{work}: time for 1 GiB", times, "ours", against),
        _flat_line(f"{work}: peak RSS", {"ours": heavy.peaks, against: light.peaks}, against),
    ]


class _Peak:
    """Peak memory of a server's only worker while one study is sent; each method is a pairs.Work."""

    def __init__(self, server: Server, sent: Study) -> None:
        self._pid, self._sent, self._client = server.worker, sent, Client(server.port)
        self.largest = dict.fromkeys(memory.KINDS, 0)
        self.peaks: list[float] = []
        check(sent, self._client.post(sent))

    def high_water(self) -> float:
        """Return the MiB at the kernel's high-water mark."""
        memory.reset_peak(self._pid)
        self._seconds()
        return memory.peak(self._pid) / MiB

    def anonymous(self) -> float:
        """Return the MiB of anonymous memory, sampled."""
        with memory.sampled(self._pid) as seen:
            self._seconds()
        self.largest = {kind: max(seen[kind], self.largest[kind]) for kind in memory.KINDS}
        return seen["RssAnon"] / MiB

    def time_per_gib(self) -> float:
        """Return the seconds that 1 GiB takes in studies of this size, over 256 MiB of them at least."""
        times = max(1, 256 * MiB // self._sent.size)
        memory.reset_peak(self._pid)
        seconds = sum(self._seconds() for _ in range(times))
        self.peaks.append(memory.peak(self._pid) / MiB)
        return seconds * (1 << 30) / (times * self._sent.size)

    def _seconds(self) -> float:
        return pairs.seconds(self._client, self._sent)


def _mask(plan: Plan) -> float:
    return plan.depth * SLICE / MiB


def _line(work: str, samples: Samples, limit: float) -> Line:
    """Return a line for the largest of all rounds: a peak counts even if it occurs once."""
    ours, plain = max(samples["ours"]), max(samples["plain"])
    return Line(
        work=work, unit="MiB", ours=ours, baseline=plain, against="plain", ratio=ours / plain,
        must_reach=f"<= {limit:.0f} MiB", met=ours <= limit, samples=samples,
    )  # fmt: skip


def _flat_line(work: str, peaks: Samples, against: str) -> Line:
    large, small = (max(values) for values in peaks.values())
    return Line(
        work=work, unit="MiB", ours=large, baseline=small, against=against, ratio=large / small,
        must_reach=f"<= {FLAT} MiB more", met=large - small <= FLAT, samples=peaks,
    )  # fmt: skip
