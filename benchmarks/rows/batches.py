"""Sixteen clients of a model that takes as long for sixteen requests as for one."""

from statistics import median

from benchmarks import generator, pairs, ready, servers
from benchmarks.generator import Order
from benchmarks.kept import BATCH, BATCH_SECONDS
from benchmarks.results import Line, Plan
from benchmarks.rows.crowds import percentile
from benchmarks.rows.latencies import SMALL_PART

CLIENTS = 16
THREADS = 24
"""So that all clients find a place in one worker."""
GAIN = 8.0
PATIENCE = 3.0
"""Times the batch's own that 99 of 100 requests may take."""


def batch(plan: Plan) -> list[Line]:
    """Measure batches in a model process and inside the worker."""
    return [line for processes in (1, 0) for line in _lines(processes, plan)]


def _lines(processes: int, plan: Plan) -> list[Line]:
    with servers.kept("/single /batched", processes=processes, threads=THREADS) as server:
        ready.wait(server.port)
        sides = {name: _Side(server.port, f"/{name}", plan.batch_seconds) for name in ("batched", "single")}
        rates = pairs.alternate(max(1, plan.pairs // 2), {name: side.throughput for name, side in sides.items()})
    work = f"batches of {BATCH.max_size}, {CLIENTS} clients, {'1 model process' if processes else 'inline'}"
    latencies = {name: side.latencies for name, side in sides.items()}
    batched, single = median(rates["batched"]), median(rates["single"])
    slow, beside = (percentile(latencies[name], 99) for name in ("batched", "single"))
    return [
        Line(
            work=f"{work}: throughput", unit="/s", ours=batched, baseline=single, against="one by one",
            ratio=batched / single, must_reach=f"ratio >= {GAIN:g}", met=batched / single >= GAIN, samples=rates,
        ),
        Line(
            work=f"{work}: p99", unit="ms", ours=slow * 1000, baseline=beside * 1000, against="one by one",
            ratio=slow / beside, must_reach=f"<= {PATIENCE * BATCH_SECONDS * 1000:g} ms",
            met=slow <= PATIENCE * BATCH_SECONDS, samples=latencies,
        ),
    ]  # fmt: skip


class _Side:
    def __init__(self, port: int, path: str, seconds: float) -> None:
        self._order = Order(ports=[port], asked=[(path, {}, 1, SMALL_PART)], seconds=seconds, clients=CLIENTS)
        self.latencies: list[float] = []

    def throughput(self) -> float:
        """Return the answers a second. Raises ValueError for a failed request."""
        load = generator.run(self._order)
        if bad := [reply for reply in load.replies if reply.status != 200]:
            raise ValueError(f"{len(bad)} of {len(load.replies)} failed, the first with {bad[0]}")
        self.latencies += [reply.seconds for reply in load.replies]
        return load.rate()
