"""The time of one request by the names of ``outcomes.PHASES``."""

import threading
from collections import defaultdict
from collections.abc import Mapping
from time import perf_counter
from types import TracebackType


class Phases:
    """Seconds by phase, each moment counted once.

    A measure within another reduces the outer one, so that the sum never exceeds the elapsed time.
    ``begin`` and ``measure`` are for the thread that serves the request; ``add`` may be called from any.
    """

    __slots__ = ("_lock", "_mark", "_open", "seconds", "started")

    def __init__(self, first: str = "") -> None:
        """Start with the phase ``first``, unless it is empty."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.started = self._mark = perf_counter()
        self._open: list[str] = [first] if first else []
        self._lock = threading.Lock()

    def begin(self, name: str) -> float:
        """Count the time from now on for ``name``, except measured blocks; return the time of ``perf_counter``."""
        now = perf_counter()
        if self._open:
            over = self._open.pop()
            self.add(over, now - self._mark)
            self.seconds[over] = max(0.0, self.seconds[over])  # threads may measure more than has elapsed
        self._open.append(name)
        self._mark = now
        return now

    def measure(self, name: str) -> "_Measure":
        """``with phases.measure("receive"):`` measures its block, which must not yield."""
        return _Measure(self, name)

    def add(self, name: str, seconds: float, *, of: str = "") -> None:
        """Add seconds that were measured elsewhere, and subtract them from the phase ``of`` around them."""
        with self._lock:
            self.seconds[name] += seconds
            if of:
                self.seconds[of] -= seconds

    def _enter(self, name: str) -> None:
        now = perf_counter()
        if self._open:
            self.add(self._open[-1], now - self._mark)
        self._open.append(name)
        self._mark = now

    def _leave(self) -> None:
        now = perf_counter()
        self.add(self._open.pop(), now - self._mark)
        self._mark = now


class _Measure:
    """A measured block; ``contextlib`` would cost three times as much for each piece of a body."""

    __slots__ = ("_name", "_phases")

    def __init__(self, phases: Phases, name: str) -> None:
        self._phases, self._name = phases, name

    def __enter__(self) -> None:
        self._phases._enter(self._name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._phases._leave()


def server_timing(phases: Mapping[str, float]) -> str:
    """Return the text of a ``Server-Timing`` header, in milliseconds (W3C Server Timing 3)."""
    return ", ".join([f"{name};dur={seconds * 1000:.3f}" for name, seconds in phases.items()])
