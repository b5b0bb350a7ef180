"""The line in front of one model: how many wait, who goes next and with whom. No threads, no clock, no I/O in it."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.contract.execution import Batch
from gateway.errors import Unavailable
from gateway.executors.states import full

Call = TypeVar("Call")

SMOOTHING = 0.2
"""Weight of the latest run in the usual service time: about the last ten count."""
FIRST_GUESS = 1.0
"""Seconds taken for the service time before the first run is over."""


@dataclass
class _Waiting(Generic[Call]):
    call: Call
    key: str
    since: float
    """From when on it waits for others: those who were in the first run that ended since it came may yet come again."""
    renewed: bool = False
    """Whether that was put off already; once is enough, or a rare key would wait for ever beside a busy one."""


class Queue(Generic[Call]):
    """A bounded queue with places to run at, in the order of arrival.

    ``places`` may change while it works; None has no bound. Times are seconds of one monotonic clock, given by the
    caller.
    """

    def __init__(self, *, places: int | None, max_queue: int, batch: Batch | None = None) -> None:
        self.places = places
        self.max_queue = max_queue
        self.batch = batch
        self.taken = 0
        """Places in use."""
        self.running = 0
        """Calls on them."""
        self.service_seconds = 0.0
        self._waiting: deque[_Waiting[Call]] = deque()

    def __len__(self) -> int:
        """The number of pending calls."""
        return len(self._waiting)

    @property
    def max_size(self) -> int:
        """The largest batch."""
        return self.batch.max_size if self.batch else 1

    @property
    def full(self) -> bool:
        """Return True if the next call would be refused: no slot is free, and the queue is at its limit.

        A batch is filled from the queue, so one batch may always wait.
        """
        if self.places is None or self.taken < self.places:
            return len(self._waiting) >= max(self.max_queue, self.max_size)
        return len(self._waiting) >= self.max_queue

    def refusal(self) -> Unavailable:
        """Return the error of a call that finds no room."""
        return full(max(1, math.ceil(self.wait())))

    def wait(self) -> float:
        """Seconds until a place in the queue is likely to come free."""
        parallel = (self.places or 1) * self.max_size
        return (self.service_seconds or FIRST_GUESS) * max(1, len(self._waiting) // parallel)

    def submit(self, call: Call, key: str, now: float) -> None:
        """Put a call in line. Raises Unavailable, with the time to try again, where the line is full."""
        if self.full:
            raise self.refusal()
        self._waiting.append(_Waiting(call, key, now))

    def take(self, now: float) -> list[Call]:
        """The calls to run next, together and at one place; none where no place is free or a batch may yet fill."""
        if self.places is not None and self.taken >= self.places:
            return []
        for key, group in self._groups().items():
            if len(group) >= self.max_size or now >= self._patience(group[0]):
                return self._start(key)
        return []

    def due(self) -> float | None:
        """Return the time at which ``take`` returns calls without another event; None where it needs one."""
        if not self._waiting or (self.places is not None and self.taken >= self.places):
            return None
        return min(self._patience(group[0]) for group in self._groups().values())

    def drop(self, call: Call) -> bool:
        """Take a call out of the line; False where it is not in it."""
        before = len(self._waiting)
        self._waiting = deque(one for one in self._waiting if one.call is not call)
        return len(self._waiting) < before

    def finish(self, size: int, seconds: float | None, now: float) -> None:
        """A run of ``size`` calls is over, after so many seconds; None where they say nothing of the next."""
        self.taken -= 1
        self.running -= size
        for one in self._waiting:
            if not one.renewed:
                one.since, one.renewed = now, True
        if seconds is not None:
            known = self.service_seconds
            self.service_seconds = seconds if not known else known + SMOOTHING * (seconds - known)

    def clear(self) -> list[Call]:
        """Empty the line, and say who stood in it."""
        calls = [one.call for one in self._waiting]
        self._waiting.clear()
        return calls

    def _groups(self) -> dict[str, list[_Waiting[Call]]]:
        """The calls that may run together, by key; the group of the oldest call comes first."""
        if self.max_size == 1:
            return {"": [self._waiting[0]]} if self._waiting else {}
        groups: dict[str, list[_Waiting[Call]]] = {}
        for one in self._waiting:
            groups.setdefault(one.key, []).append(one)
        return groups

    def _patience(self, first: _Waiting[Call]) -> float:
        """The time until which a group waits for more calls."""
        return first.since + (self.batch.max_wait_ms / 1000 if self.batch else 0.0)

    def _start(self, key: str) -> list[Call]:
        chosen = self._waiting if self.max_size == 1 else (one for one in self._waiting if one.key == key)
        group = [one for one, _ in zip(chosen, range(self.max_size), strict=False)]
        for one in group:
            self._waiting.remove(one)
        self.taken += 1
        self.running += len(group)
        return [one.call for one in group]
