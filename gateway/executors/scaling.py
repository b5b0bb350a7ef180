"""How many replicas of a model to have, between two bounds, by what waits for them. No processes, no clock in it."""

from dataclasses import dataclass

UP_SECONDS = 1.0
"""How long calls wait for a replica before another one starts: a burst that is over sooner needs none."""
DOWN_SECONDS = 60.0
"""How long one replica fewer would have been enough before one ends; a setup may take as long."""


@dataclass
class Scaling:
    """The target between ``least`` and ``most``; ``wanted`` is called at each event with the time."""

    least: int
    most: int
    target: int = 0
    _pending_since: float | None = None
    _idle_since: float | None = None

    def wanted(self, now: float, *, pending: int, running: int, serving: int) -> int:
        """Return the number of replicas: ``pending`` calls wait, ``running`` replicas of those ``serving`` are busy."""
        self.target = min(max(self.target, self.least), self.most)
        waits = pending > 0 and running >= serving >= self.target
        self._pending_since = (self._pending_since or now) if waits else None
        spare = not pending and running < serving
        self._idle_since = (self._idle_since or now) if spare else None
        if self._pending_since is not None and now - self._pending_since >= UP_SECONDS:
            self.target, self._pending_since = min(self.target + 1, self.most), None
        elif self._idle_since is not None and now - self._idle_since >= DOWN_SECONDS:
            self.target, self._idle_since = max(self.target - 1, self.least), None
        return self.target
