"""A replica before its model is loaded: it gets a node, and its node the files of its bundles."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from gateway.errors import GatewayError
from gateway.executors.messages import Words
from gateway.executors.ray.bundle_sender import BundleSender
from gateway.executors.ray.demand import occupation, shortage

LOOK = 1.0
"""Seconds between two looks at what a replica waits for."""
STARTING = 5.0
"""Seconds that an actor on a free node may take to begin; only later it may be the cluster that is in use."""


class Placement:
    """One replica on its way; ``tell`` is given what it waits for, each time that changes."""

    def __init__(self, ray: Any, actor: Any, resources: dict[str, float], tell: Callable[[str], None]) -> None:
        self._ray = ray
        self._actor = actor
        self._resources = resources
        self._tell = tell
        self._waits = ""
        self._over = threading.Event()

    def node(self) -> str:
        """Wait until the replica has a node; return its id. Raises RayError, OSError."""
        started, placed = time.monotonic(), self._actor.place.remote()
        self._wait_for(shortage(self._resources, self._totals()))
        while not self._ray.wait([placed], timeout=LOOK)[0]:
            totals = self._totals()
            reason = shortage(self._resources, totals)
            if not reason and time.monotonic() - started > STARTING:
                reason = occupation(self._resources, self._ray.available_resources(), totals)
            self._wait_for(reason)
        self._wait_for("")
        return str(self._ray.get(placed))

    def provide(self, names: list[str], bundles: BundleSender) -> None:
        """Bring bundles to the node; wait for those that the store has not. Raises BundleRefused, RayError, OSError."""
        for name in names:
            self._wait_for(f"its node takes the bundle {name}")
            while not self._over.is_set():
                try:
                    bundles.send(name, self._ask)
                    break
                except GatewayError as error:
                    self._wait_for(f"it waits for the bundle {name} of the store: {error}")
                    self._over.wait(LOOK)
        self._wait_for("")

    def give_up(self) -> None:
        """Wait no more."""
        self._over.set()

    def _ask(self, method: str, words: Words, piece: Any) -> Words:
        arguments = [json.dumps(words).encode(), *([] if piece is None else [self._ray.put(piece)])]
        answer: Words = json.loads(self._ray.get(getattr(self._actor, method).remote(*arguments)))
        return answer

    def _totals(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _wait_for(self, reason: str) -> None:
        if reason != self._waits:
            self._waits = reason
            self._tell(reason)
