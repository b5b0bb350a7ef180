"""Whether the nodes of a cluster, and its head, are still there: asked each second, and not left to Ray's own time.

A replica's own process is no witness: a model may hold Python's lock for longer than any deadline of a ping. Each node
with a replica has a small actor that answers instead.
"""

import threading
from collections.abc import Callable
from typing import Any

PAUSE = 1.0
"""Seconds between two questions."""
SILENT = 4.0
"""Seconds without an answer after which a node, or the cluster, counts as gone: five with the pause before."""
FIRST = 60.0
"""Seconds for the first answer of a node, whose actor is only starting."""


class PulseActor:
    """Answers, as long as its node does."""

    def beat(self) -> None:
        """Return."""


class NodeWatch:
    """A thread for each node that has replicas; ``follow`` adds one."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._pulse = ray.remote(num_cpus=0, max_restarts=0)(PulseActor)
        self._lock = threading.Lock()
        self._followed: dict[str, set[Callable[[str], None]]] = {}

    def follow(self, node: str, lost: Callable[[str], None]) -> None:
        """Call ``lost`` with the reason, once, when the node is silent."""
        with self._lock:
            first = node not in self._followed
            self._followed.setdefault(node, set()).add(lost)
        if first:
            threading.Thread(target=self._watch, args=[node], name="gateway-pulse", daemon=True).start()

    def forget(self, node: str, lost: Callable[[str], None]) -> None:
        """Follow no more."""
        with self._lock:
            self._followed.get(node, set()).discard(lost)

    def _watch(self, node: str) -> None:
        place = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        timeout, pulse = FIRST, self._pulse.options(scheduling_strategy=place).remote()
        pause = threading.Event()
        try:
            while self._is_followed(node):
                self._ray.get(pulse.beat.remote(), timeout=timeout)
                timeout = SILENT
                pause.wait(PAUSE)
        except self._ray.exceptions.RayError:
            for lost in self._give_up(node):
                lost("its node does not answer")
        self._ray.kill(pulse)

    def _is_followed(self, node: str) -> bool:
        """Return True while a replica is there; else the next one begins again."""
        with self._lock:
            if not self._followed[node]:
                del self._followed[node]
                return False
            return True

    def _give_up(self, node: str) -> set[Callable[[str], None]]:
        with self._lock:
            return self._followed.pop(node, set())


def wait_until_silent(ray: Any, over: Callable[[], bool]) -> None:
    """Return once the cluster's head has not answered in time, or ``over`` is True."""
    while not over():
        answered = threading.Event()
        threading.Thread(target=_ask, args=(ray, answered), name="gateway-head", daemon=True).start()
        if not answered.wait(SILENT):
            return
        threading.Event().wait(PAUSE)


def _ask(ray: Any, answered: threading.Event) -> None:
    ray.nodes()
    answered.set()
