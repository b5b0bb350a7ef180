"""Thousands of requests to one worker: growth of memory, and leaked files."""

import time
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from benchmarks import memory
from benchmarks.client import Client
from benchmarks.results import Plan
from benchmarks.servers import Server
from benchmarks.studies import Study

SETTLE_SECONDS = 10.0


@dataclass(frozen=True)
class Soak:
    """Seconds and resident bytes after each batch; files open before and after; names left in the temporary folder."""

    seconds: list[float]
    resident: list[int]
    opened: list[str]
    left_open: list[str]
    left_lying: list[str]

    def growth(self) -> float:
        """Return the slope over the second half, in percent an hour."""
        half = len(self.seconds) // 2
        seconds, resident = self.seconds[half:], self.resident[half:]
        return theil_sen(seconds, resident) * 3600 / median(resident) * 100


def run(server: Server, small: Study, large: Study, plan: Plan) -> Soak:
    """Warm up, then one large request after each batch of small ones; sampled when none is under way."""
    client, pid = Client(server.port), server.worker
    _ask(client, small, plan.warm_up)
    _ask(client, large, 1)
    client.close()
    opened = _settled(pid, [])
    seconds, resident = [], []
    for _ in range(plan.soak_large):
        _ask(client, small, plan.soak_small // plan.soak_large)
        _ask(client, large, 1)
        seconds.append(time.monotonic())
        resident.append(memory.exact(pid))
    left = _difference(_settled(pid, opened), opened)
    return Soak(seconds, resident, opened, left, sorted(path.name for path in server.temporary.rglob("*")))


def theil_sen(xs: list[float], ys: list[int]) -> float:
    """Return the median of the slopes of all pairs of points; 0.0 for fewer than two."""
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(zip(xs, ys, strict=True), 2)]
    return median(slopes) if slopes else 0.0


def _ask(client: Client, study: Study, times: int) -> None:
    for _ in range(times):
        answer = client.post(study)
        if answer.status != 200:
            raise ValueError(f"status {answer.status}: {bytes(answer.body[:500])!r}")


def _settled(pid: int, expected: list[str]) -> list[str]:
    """Return the open files once the server has closed its ends of closed connections, or after some seconds."""
    deadline = time.monotonic() + SETTLE_SECONDS
    now = memory.open_files(pid)
    while time.monotonic() < deadline and (not expected or _difference(now, expected)):
        time.sleep(0.2)
        before, now = now, memory.open_files(pid)
        if not expected and before == now:
            break
    return now


def _difference(now: list[str], before: list[str]) -> list[str]:
    left = list(now)
    for name in before:
        if name in left:
            left.remove(name)
    return left
