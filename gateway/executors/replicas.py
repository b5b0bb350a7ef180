"""The processes of one model: which to start, which to stop, and what that says of its health.

No processes in it: events and a clock come in, orders go out. ``supervisor`` carries them out.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from gateway.contract.execution import HealthState

CRASHES = 3
"""Deaths in a row, without an answer between them, that open the breaker."""


class Phase(Enum):
    """The phase of a process's life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass
class Replica:
    """A process of a model: a number that is not reused, and the generation of its code."""

    number: int
    generation: int
    phase: Phase = Phase.STARTING
    waits: str = ""
    """What it waits for before its setup, in words."""


@dataclass(frozen=True)
class Start:
    """Start a process of this number."""

    number: int


@dataclass(frozen=True)
class Stop:
    """Let a process finish what it is at, close its model and end."""

    number: int


class Replicas:
    """The processes of a model: as many as wanted, of the newest generation that works.

    A process that dies is replaced at once; after ``CRASHES`` in a row, or a setup that raised, not before
    ``cooldown`` seconds, and then one is tried. A new generation replaces the old one by one: each is ready before the
    one it replaces drains, and where it does not get ready the old ones serve on.
    """

    def __init__(
        self, wanted: int, *, cooldown: float, reserve: Callable[[int, int], bool] = lambda number, generation: True
    ) -> None:
        """``reserve`` takes what a process of this number and generation needs; False where it is not free yet."""
        self.wanted = self.least = wanted
        """How many there should be, and how many of them make it ready."""
        self.cooldown = cooldown
        self.generation = 0
        self.members: dict[int, Replica] = {}
        self.restarts = 0
        self.ever_ready = False
        self.crashes = 0
        self.reason = ""
        """Why the latest process did not live, in words."""
        self._rest_until = 0.0
        self._given_up = ""
        """Why the newest generation was given up, where it was."""
        self._refused = ""
        """Why no process can be started at all."""
        self._reserve = reserve
        self._short = False
        """Whether the next process waits for what it needs."""
        self._numbers = itertools.count(1)

    def renew(self, generation: int) -> None:
        """The code has changed: bring every process to this generation."""
        if generation > self.generation:
            self.generation, self._refused = generation, ""
            self._rest_until, self.crashes, self._given_up = 0.0, 0, ""

    def refuse(self, reason: str) -> None:
        """Its processes cannot be started as declared: those of a former generation serve on, as they were declared."""
        if self.wanted:
            self._given_up = reason
        else:
            self._refused = reason

    def plan(self, now: float, *, ending: bool = False) -> list[Start | Stop]:
        """Return the orders that are due; each counts as under way from now on.

        ``ending`` says that a process that died is not gone yet: what it has is about to be free.
        """
        current = self._of(Phase.STARTING, Phase.READY, current=True)
        former = self._of(Phase.STARTING, Phase.READY, current=False)
        if former:
            return self._replace_one(current, former, ending)
        if now < self._rest_until:
            return []
        if len(current) > self.wanted:
            return self._stop(current, len(current) - self.wanted)
        allowed = self.wanted if self.crashes < CRASHES else 1
        return [order for _ in range(allowed - len(current)) for order in self._start()]

    def _replace_one(self, current: list[Replica], former: list[Replica], ending: bool) -> list[Start | Stop]:
        draining = any(replica.phase is Phase.DRAINING for replica in self.members.values())
        if draining or any(replica.phase is Phase.STARTING for replica in current):
            return []  # one after another: what drains still holds its memory
        if len(self.members) <= self.wanted and ((started := self._start()) or ending):
            return started  # else there is no room for both, and one of the former makes room
        return self._stop(former, 1)

    def _stop(self, replicas: list[Replica], count: int) -> list[Start | Stop]:
        """Stop some, those that are not ready before the oldest."""
        chosen = sorted(replicas, key=lambda replica: (replica.phase is Phase.READY, replica.number))[:count]
        for replica in chosen:
            replica.phase = Phase.DRAINING
        return [Stop(replica.number) for replica in chosen]

    def _start(self) -> list[Start | Stop]:
        replica = Replica(next(self._numbers), self.generation)
        self._short = not self._reserve(replica.number, replica.generation)
        if self._short:
            return []
        self.members[replica.number] = replica
        return [Start(replica.number)]

    def _of(self, *phases: Phase, current: bool) -> list[Replica]:
        return [
            one
            for one in self.members.values()
            if one.phase in phases and current == (one.generation == self.generation)
        ]

    def ready(self, number: int) -> None:
        """A process is set up and warm; one that was told to end meanwhile counts no more."""
        replica = self.members.get(number)
        if replica is not None and replica.phase is Phase.STARTING:
            replica.phase = Phase.READY
            self.ever_ready = True

    def has_twin(self, number: int) -> bool:
        """Return True if another process of the same generation answers."""
        return any(one.number != number for one in self._of(Phase.READY, current=True)) and (
            number in self.members and self.members[number].generation == self.generation
        )

    def wait(self, number: int, reason: str) -> None:
        """Note what a process waits for before its setup can begin; "" for nothing."""
        if number in self.members:
            self.members[number].waits = reason

    def answered(self) -> None:
        """Note that one of its processes answered, which closes the circuit breaker."""
        self.crashes, self.reason = 0, ""

    def died(self, number: int, reason: str, now: float, *, for_good: bool = False, innocent: bool = False) -> bool:
        """A process has ended; True unless it was told to.

        ``for_good`` says that another try would end the same way, as after a setup that raised; ``innocent`` that it
        ended for no fault of its model, so that the breaker does not count it.
        """
        replica = self.members.pop(number)
        if replica.phase is Phase.DRAINING:
            return False
        self.restarts += 1
        self.crashes += not innocent
        self.reason = reason
        former = self._of(Phase.STARTING, Phase.READY, current=False)
        if replica.phase is Phase.STARTING and replica.generation == self.generation and former and not innocent:
            self._give_up(former)
        elif for_good or self.crashes >= CRASHES:
            self._rest_until = now + self.cooldown
        return True

    def _give_up(self, former: list[Replica]) -> None:
        """The new generation does not start: the one before it stays."""
        self._given_up = self.reason
        self.generation = max(replica.generation for replica in former)

    def wake(self, now: float) -> float | None:
        """Return the time at which ``plan`` may have an order without another event."""
        return self._rest_until if self._rest_until > now else None

    def resting(self, now: float) -> bool:
        """Return True while the circuit breaker is open: the last processes died, and none is started for a while."""
        return now < self._rest_until

    def ready_numbers(self) -> list[int]:
        """The processes that answer."""
        return [one.number for one in self.members.values() if one.phase is Phase.READY]

    @property
    def serving(self) -> int:
        """The number of processes that answer."""
        return len(self.ready_numbers())

    def state(self, now: float) -> tuple[HealthState, str]:
        """Return its state, and why where it is not ready."""
        serving = self.serving
        if self._refused:
            return HealthState.FAILED, self._refused
        if self._rest_until > now and not serving:
            again = f"it is tried again in {self._rest_until - now:.0f} s"
            return HealthState.FAILED, f"{self.reason}; {again}" if self.crashes < CRASHES else self._breaker(again)
        if not serving:
            waits = "it waits for memory of its device" if self._short else "its setup and warm-up are not through"
            return HealthState.STARTING, self._waits or self.reason or waits
        if serving < min(self.wanted, self.least):
            fewer = f"{serving} of {self.least} processes answer"
            return HealthState.DEGRADED, self._waits or self.reason or self._given_up or fewer
        if self._given_up:  # no reason to send nobody here
            return HealthState.READY, f"its new version did not start, the former serves on: {self._given_up}"
        return HealthState.READY, ""

    @property
    def _waits(self) -> str:
        """What its processes wait for, of one that does."""
        return next((one.waits for one in self.members.values() if one.waits), "")

    def _breaker(self, again: str) -> str:
        return f"its process died {self.crashes} times in a row ({self.reason}); {again}"
