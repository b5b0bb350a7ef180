"""Cost of metrics, traces and the audit together, against the same gateway without them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import collector, pairs, servers
from benchmarks.results import Line, Plan, Samples, at_most
from benchmarks.rows.latencies import SMALL_PART
from benchmarks.rows.walls import first_row
from benchmarks.studies import KiB, study

SEEN, UNSEEN = "seen", "unseen"
RATIO, ADDED_MS = 1.05, 0.3


def observability(plan: Plan) -> list[Line]:
    """Measure the first row of the table and the small request."""
    large = study(plan.parts, depth=plan.depth)
    small = study(1, path="/tiny", part_size=SMALL_PART)
    with _both() as ports:
        walls = pairs.alternate(8 * plan.pairs, {name: pairs.exchange(port, large) for name, port in ports.items()})
        works = {name: pairs.unchecked(port, small, keep_alive=True) for name, port in ports.items()}
        latencies = pairs.alternate(plan.latency_requests, works)
    size = sum(map(len, small.pieces)) / KiB
    return [
        at_most(RATIO, f"{first_row(plan)}, metrics, traces and audit", walls, SEEN, UNSEEN),
        _added(f"{size:.1f} KiB request, metrics, traces and audit", latencies),
    ]


@contextmanager
def _both() -> Iterator[dict[str, int]]:
    """Yield the ports of two gateways, one with all observability and one without any."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, collector.serving() as traces:
        told: dict[str, Any] = {
            "GATEWAY_AUDIT_FILE": str(Path(folder, "audit.jsonl")),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{traces.port}",
        }
        with servers.ours(**told) as seen, servers.ours(app="benchmarks.unseen:app") as unseen:
            yield {SEEN: seen.port, UNSEEN: unseen.port}


def _added(work: str, samples: Samples) -> Line:
    seen, unseen = (median(samples[name]) * 1000 for name in (SEEN, UNSEEN))
    added = seen - unseen
    return Line(
        work=work, unit="ms", ours=seen, baseline=unseen, against=UNSEEN, ratio=seen / unseen,
        must_reach=f"added <= {ADDED_MS:g} ms", met=added <= ADDED_MS, note=f"they add {added:.2f} ms",
        samples=samples,
    )  # fmt: skip
