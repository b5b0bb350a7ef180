"""The models' health as metrics: of those that each worker has of its own, and of those that all workers share."""

import logging
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, NotRequired, TypedDict

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from gateway.observe.instruments import Instruments

logger = logging.getLogger("gateway")

OTHER = "other"
"""The label of whatever is not in the set that its label has."""
STATES = ("starting", "ready", "busy", "degraded", "failed", OTHER)
REFRESH_SECONDS = 2.0
"""How old another worker's queue may be in what one worker tells; Prometheus asks every 15 seconds."""


class Health(TypedDict):
    """How one model fares: its state, requests waiting and in work, restarts since the start.

    ``shared`` says that all workers speak of the same processes; otherwise each speaks of its own, and they add up.
    """

    state: str
    queued: int
    running: int
    restarts: int
    shared: NotRequired[bool]


Snapshot = Callable[[], Mapping[str, Health]]
"""The models' health by route, when asked."""


class Watch:
    """Takes snapshots: when asked, and with ``beside`` others also every REFRESH_SECONDS, for them to read."""

    def __init__(self, instruments: Instruments, routes: Container[str], snapshot: Snapshot, *, beside: bool) -> None:
        self._instruments, self._routes, self._snapshot = instruments, routes, snapshot
        self._models: dict[str, _Model] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.refresh()
        if beside:
            threading.Thread(target=self._keep_fresh, name="gateway-metrics", daemon=True).start()

    def close(self) -> None:
        """No more snapshots beside the requests."""
        self._closed.set()

    def _keep_fresh(self) -> None:
        while not self._closed.wait(REFRESH_SECONDS):
            self.refresh()

    def refresh(self) -> dict[str, Health]:
        """Write down how this process's own models fare; returns how the shared ones do."""
        try:
            found = {name: health for name, health in self._snapshot().items() if name in self._routes}
        except Exception as error:  # a model that cannot tell must not take the other numbers with it
            logger.warning("the models' health is not known: %s", type(error).__name__)
            return {}
        shared = {name: health for name, health in found.items() if health.get("shared")}
        with self._lock:
            for name in found.keys() - shared.keys():
                if name not in self._models:
                    self._models[name] = _Model(self._instruments, name)
                self._models[name].take(found[name])
        return shared


class _Model:
    """The children of one model, and how often it had been restarted when that was last told."""

    def __init__(self, instruments: Instruments, name: str) -> None:
        self._queued = instruments.queued.labels(name)
        self._running = instruments.running.labels(name)
        self._restarts = instruments.restarts.labels(name)
        self._states = {state: instruments.state.labels(name, state) for state in STATES}
        self._restarted = 0

    def take(self, health: Health) -> None:
        self._queued.set(health["queued"])
        self._running.set(health["running"])
        self._restarts.inc(max(0, health["restarts"] - self._restarted))
        self._restarted = health["restarts"]
        for state, child in self._states.items():
            child.set(state == _state(health))


class WithShared(Collector):
    """What another collector tells, and how the shared models fare: once, however many workers know of it."""

    def __init__(self, others: Any, instruments: Instruments, shared: Mapping[str, Health]) -> None:
        self._others, self._instruments, self._shared = others, instruments, shared

    def collect(self) -> Iterator[Metric]:
        """The families of the other collector, with the shared models' samples among them."""
        samples = list(self._samples())
        families = {metric.name: metric for metric in self._others.collect()}
        for family, sample in samples:
            families.setdefault(family.name, family).samples.append(sample)
        yield from families.values()

    def _samples(self) -> Iterator[tuple[Metric, Sample]]:
        of = self._instruments
        queued, running, state, restarts = (_family(one) for one in (of.queued, of.running, of.state, of.restarts))
        for name, health in self._shared.items():
            yield queued, Sample(queued.name, {"model": name}, health["queued"])
            yield running, Sample(running.name, {"model": name}, health["running"])
            yield restarts, Sample(f"{restarts.name}_total", {"model": name}, health["restarts"])
            for one in STATES:
                yield state, Sample(state.name, {"model": name, "state": one}, float(one == _state(health)))


def _family(instrument: Any) -> Metric:
    """The name, help and type of an instrument, without samples."""
    described: Metric = instrument.describe()[0]
    return described


def _state(health: Health) -> str:
    state = health["state"].lower()
    return state if state in STATES else OTHER
