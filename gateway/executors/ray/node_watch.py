"""Whether the nodes of a cluster, and its head, are there: asked each half second, and not left to Ray's own time.

A replica's own process is no witness: a model may hold Python's lock for longer than any deadline of a ping. Each node
with a replica has a small actor that answers instead.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("gateway.ray")

PAUSE = 0.5
"""Seconds between two questions."""
SILENT = 4.5
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
        address = self.address(node)
        pause = threading.Event()
        try:
            while self._is_followed(node):
                beat = pulse.beat.remote()
                self._wait(beat, timeout, address)
                timeout = SILENT
                pause.wait(PAUSE)
        except (self._ray.exceptions.RayError, ConnectionRefusedError):
            logger.error("the node %s:%d of the Ray cluster does not answer; its replicas are given up", *address)
            for lost in self._give_up(node):
                lost("its node does not answer")
        self._ray.kill(pulse)

    def _wait(self, beat: Any, timeout: float, address: tuple[str, int]) -> None:
        """Wait for a beat. Raises ConnectionRefusedError where nobody listens for the node any more."""
        until = time.monotonic() + timeout
        while True:
            _require_listening(address)
            left = until - time.monotonic()
            try:
                self._ray.get(beat, timeout=max(0.0, min(PAUSE, left)))
                return
            except self._ray.exceptions.GetTimeoutError:
                if left <= PAUSE:
                    raise

    def address(self, node: str) -> tuple[str, int]:
        """Return where the raylet of a node listens: its death is known by that before its replicas end.

        A node that Ray no longer lists has its id and port 0, where nothing is known of who listens.
        """
        for one in self._ray.nodes():
            if one["NodeID"] == node:
                return one["NodeManagerAddress"], one["NodeManagerPort"]
        return node, 0

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


def _require_listening(address: tuple[str, int]) -> None:
    """Raise ConnectionRefusedError where the machine answers that nobody listens; other silence is left to beats."""
    try:
        socket.create_connection(address, timeout=PAUSE).close()
    except ConnectionRefusedError:
        raise
    except OSError:
        return


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
