"""The states of a run and the moves between them: pure, with the time passed in.

::

    queued ── claim ──> running ── end ──> finished, refused, failed, cancelled
      ^ │                │   ^ │
      │ └── cancel ──────┼───┼─┼─────────> cancelled
      │                ask   answer
      │                  v   │ │
      │             waiting-input
      └── give_back, expire ───┘           expire, after the last attempt ──> failed

A run that waits for input has a holder, whose model waits, or is parked: nothing executes it. ``give_back``, ``retry``
and ``expire`` park a waiting run; its answer queues it.

Each move returns the new status, or None where it is not allowed: the run was cancelled, forgotten or taken by another
process since it was read.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self


class RunState(StrEnum):
    """The state of a run. ``refused`` is the sender's or the study's fault and is never retried."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting-input"
    FINISHED = "finished"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Return True for a state that does not change any more."""
        return self not in LIVE


LIVE = (RunState.QUEUED, RunState.RUNNING, RunState.WAITING)
ENDED = tuple(state for state in RunState if state.ended)
LONGEST_PAUSE = 30.0
"""Seconds that a queued run waits at most: one that waits for longer was queued before the clock was set back."""
EXECUTING = (RunState.RUNNING, RunState.WAITING)
"""The states in which a process has the lease of a run, unless it is parked."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """The state of a run, and the lease of the process that executes it.

    ``attempts`` counts the executions that were begun, but for those given back. Times are seconds since 1970;
    a queued run is not claimed before ``available_at``; 0 is at once, whatever becomes of the clock.
    """

    state: RunState = RunState.QUEUED
    attempts: int = 0
    holder: str = ""
    lease_until: float = 0.0
    available_at: float = 0.0
    cancelling: bool = False

    def held_by(self, holder: str) -> bool:
        """Return True while ``holder`` executes the run."""
        return self.state in EXECUTING and self.holder == holder

    def claim(self, holder: str, now: float, lease: float) -> Self | None:
        """Let ``holder`` execute a queued run."""
        if self.state is not RunState.QUEUED or now < self.available_at <= now + LONGEST_PAUSE:
            return None
        attempts = self.attempts + 1
        return replace(self, state=RunState.RUNNING, attempts=attempts, holder=holder, lease_until=now + lease)

    @property
    def parked(self) -> bool:
        """Return True for a run that waits for input, and that nothing executes."""
        return self.state is RunState.WAITING and not self.holder

    def give_back(self, holder: str, available_at: float) -> Self | None:
        """Queue the run again, or park it, without an attempt: its place was not free, or its worker stops."""
        if not self.held_by(holder):
            return None
        return self._parked() if self.state is RunState.WAITING else self._queued(self.attempts - 1, available_at)

    def retry(self, holder: str, most: int) -> Self | None:
        """Queue the run again, or park it, after an attempt that died; None after the last of ``most`` attempts too."""
        if not self.held_by(holder):
            return None
        if self.state is RunState.WAITING:
            return self._parked()
        return self._queued(self.attempts) if self.attempts < most else None

    def expire(self, now: float, most: int) -> Self | None:
        """Take a run from a process that did not renew its lease: queued again, or failed after ``most`` attempts.

        One that waits for input is parked, without an attempt: its model did nothing when the process died.
        """
        if self.state not in EXECUTING or self.parked or now < self.lease_until:
            return None
        if self.state is RunState.WAITING:
            return self._parked()
        if self.attempts < most or self.cancelling:
            return self._queued(self.attempts)
        return self._ended(RunState.FAILED)

    def ask(self, holder: str) -> Self | None:
        """Let a running run wait for input."""
        return replace(self, state=RunState.WAITING) if self.held_by(holder) and not self.cancelling else None

    def answer(self) -> Self | None:
        """Let a run continue with its input; a parked one is queued."""
        if self.state is not RunState.WAITING:
            return None
        return self._queued(self.attempts) if self.parked else replace(self, state=RunState.RUNNING)

    def cancel(self) -> Self | None:
        """Cancel a queued or parked run at once; ask the holder of an executing one to stop."""
        if self.state is RunState.QUEUED or self.parked:
            return self._ended(RunState.CANCELLED)
        return replace(self, cancelling=True) if self.state in EXECUTING else None

    def end(self, holder: str, state: RunState) -> Self | None:
        """End an executing run."""
        return self._ended(state) if self.held_by(holder) and state.ended else None

    def _queued(self, attempts: int, available_at: float = 0.0) -> Self:
        if self.cancelling:
            return self._ended(RunState.CANCELLED)
        queued = replace(self, state=RunState.QUEUED, attempts=attempts, available_at=available_at)
        return replace(queued, holder="", lease_until=0.0)

    def _parked(self) -> Self:
        if self.cancelling:
            return self._ended(RunState.CANCELLED)
        return replace(self, attempts=self.attempts - 1, holder="", lease_until=0.0)

    def _ended(self, state: RunState) -> Self:
        return replace(self, state=state, holder="", lease_until=0.0)
