"""Results of a row: one line of the table for each bound, with all its samples."""

from dataclasses import dataclass, field, replace
from statistics import median

Samples = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table. ``met`` is None where nothing was measured; ``note`` has the reason."""

    work: str
    unit: str = ""
    ours: float | None = None
    baseline: float | None = None
    against: str = ""
    ratio: float | None = None
    must_reach: str = ""
    met: bool | None = None
    note: str = ""
    samples: Samples = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The counts of a run: those of the published table, or ``quick`` ones, which check that every row runs."""

    pairs: int = 5
    parts: int = 256
    depth: int = 256
    gigabyte_parts: int = 2048
    small_parts: int = 128
    latency_requests: int = 2000
    clients: int = 8
    client_parts: int = 64
    client_requests: int = 4
    warm_up: int = 500
    soak_small: int = 10_000
    soak_large: int = 200
    hops: int = 40
    batch_seconds: float = 10.0
    capacity_seconds: float = 10.0
    overload_seconds: float = 60.0
    reloads: int = 5
    kills: int = 20
    node_kills: int = 3
    mixed_minutes: float = 3.0
    slices: int = 140
    first_upload: int = 1000
    cached: int = 4000
    watchers: int = 1000
    runs: int = 100
    web_instances: int = 500
    web_studies: int = 10_000
    web_queries: int = 600
    clicks: int = 40
    instances: int = 500
    archive: int = 200


QUICK = Plan(
    pairs=2,
    parts=32,
    depth=16,
    gigabyte_parts=256,
    small_parts=64,
    latency_requests=60,
    clients=4,
    client_parts=8,
    client_requests=2,
    warm_up=20,
    soak_small=100,
    soak_large=10,
    hops=5,
    batch_seconds=2.0,
    capacity_seconds=3.0,
    overload_seconds=10.0,
    reloads=2,
    kills=4,
    node_kills=1,
    mixed_minutes=0.25,
    slices=20,
    first_upload=100,
    cached=200,
    watchers=50,
    runs=10,
    web_instances=40,
    web_studies=200,
    web_queries=60,
    clicks=5,
    instances=20,
    archive=8,
)


def at_most(limit: float, work: str, samples: Samples, ours: str, against: str, *, note: str = "") -> Line:
    """Return a line for seconds measured in turn: the median of their paired ratios may be ``limit`` at most."""
    ratio = _paired(samples, ours, against)
    return _line(work, "s", samples, ours, against, ratio, f"ratio <= {limit:g}", ratio <= limit, note)


def at_least(limit: float, work: str, samples: Samples, *, note: str = "") -> Line:
    """Return a line for MiB a second of this and the plain gateway: the ratio must be ``limit`` at least."""
    ratio = _paired(samples, "ours", "plain")
    return _line(work, "MiB/s", samples, "ours", "plain", ratio, f"ratio >= {limit:g}", ratio >= limit, note)


def beside(work: str, samples: Samples, ours: str, against: str) -> Line:
    """Return a line without a bound."""
    return replace(_line(work, "s", samples, ours, against, _paired(samples, ours, against), "", True, ""), met=None)


def skipped(work: str, reason: str) -> Line:
    """Return a line that could not be measured here, with the reason."""
    return Line(work=work, note=reason)


def _paired(samples: Samples, ours: str, against: str) -> float:
    return median(a / b for a, b in zip(samples[ours], samples[against], strict=True))


def _line(
    work: str, unit: str, samples: Samples, ours: str, against: str, ratio: float, bound: str, met: bool, note: str
) -> Line:
    return Line(
        work=work, unit=unit, ours=median(samples[ours]), baseline=median(samples[against]), against=against,
        ratio=ratio, must_reach=bound, met=met, note=note, samples=samples,
    )  # fmt: skip
