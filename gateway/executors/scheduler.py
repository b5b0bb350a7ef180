"""The scheduler of one model at the supervisor: its pending calls, its processes, and their state for the workers."""

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gateway.config import Settings
from gateway.contract.execution import Batch, HealthState
from gateway.errors import GatewayError, ModelDied, Unavailable, to_words
from gateway.executors.device_ledger import NONE, Assignment, DeviceLedger
from gateway.executors.messages import Channel, Words
from gateway.executors.queues import Queue
from gateway.executors.replicas import Replicas, Start
from gateway.executors.scaling import Scaling
from gateway.executors.states import DeviceUse, ModelHealth, at_work, resting
from gateway.spool.anonymous_files import AnonymousFile

logger = logging.getLogger("gateway.supervisor")


class ReplicaProcess(Protocol):
    """A replica of the model at work: a model process, or an actor of a Ray cluster."""

    number: int
    channel: Channel
    lost_at: float | None
    """When its channel was closed; it may take a moment more to end."""

    @property
    def ended(self) -> bool:
        """Return True if it has ended."""

    def note(self, words: Words) -> None:
        """Take what it says of its coming end."""

    def is_innocent(self, *, busy: bool) -> bool:
        """Return True if its end says nothing of its model; ``busy`` where it ran a request, or was starting."""

    def kill(self) -> None:
        """End it at once."""

    def reap(self) -> None:
        """Wait a moment for its end, and bring it about."""

    def overdue(self, now: float) -> bool:
        """Return True if it should have ended by now."""

    def why(self) -> str:
        """Describe how it ended."""


Starter = Callable[[int, Assignment], ReplicaProcess]
"""Starts the process of a number on the device that it is assigned."""


class Submitter(Protocol):
    """The worker connection that waits for the outcome of a call."""

    calls: "dict[int, Call]"

    def send(self, words: Words, files: list[AnonymousFile] = ...) -> None:
        """Send it a message."""


@dataclass(eq=False)
class Call:
    """A call at the supervisor: known by number, never by content."""

    number: int
    model: str
    key: str
    deadline: float
    files: list[AnonymousFile]
    submitter: Submitter
    submitted: float = field(default_factory=time.monotonic)
    cancelled: bool = False

    def settle(self, words: Words, files: list[AnonymousFile] | None = None) -> None:
        """Tell the caller what came of it."""
        self.submitter.calls.pop(self.number, None)
        self.submitter.send({"type": "outcome", "id": self.number, **words}, files or [])

    def refuse(self, error: GatewayError) -> None:
        """Tell the caller that nothing did."""
        self.settle({"error": to_words(error)})


@dataclass
class RunningBatch:
    """The batch of a process: calls by the numbers that it knows, and the time of its start."""

    calls: dict[int, Call]
    size: int
    deadline: float
    """The last moment at which anyone waits for it; infinite while it waits for input."""
    _asked: tuple[float, float] | None = None

    def ask(self, now: float) -> None:
        """Wait for the caller's input from now on: the time does not count."""
        if self._asked is None:
            self._asked, self.deadline = (now, self.deadline), math.inf

    def go_on(self, now: float, deadline: float | None) -> None:
        """Wait for no input any more; without a new ``deadline`` the former one moves by the time of waiting."""
        if self._asked is not None:
            asked, former = self._asked
            self._asked, self.deadline = None, former + now - asked if deadline is None else deadline


class ModelScheduler:
    """See the module. ``start`` starts a process of a number; times are those of ``time.monotonic``.

    ``ledger`` has the devices of the server.
    """

    def __init__(self, name: str, settings: Settings, ledger: DeviceLedger, start: Starter) -> None:
        self.name = name
        self.configured = False
        self.card: Words = {}
        """Which model it is, as its latest process says."""
        self.fatal = ""
        """Why it could not be set up, where it never was."""
        self.replicas = Replicas(0, cooldown=settings.breaker_cooldown, reserve=self._reserve)
        self.processes: dict[int, ReplicaProcess] = {}
        self._settings = settings
        self._ledger = ledger
        self._assigned: dict[int, Assignment] = {}
        self._start = start
        self._scaling = Scaling(0, 0)
        self._queue: Queue[Call] = Queue(places=0, max_queue=settings.max_queue)
        self._batches: dict[int, RunningBatch] = {}
        self._failed: dict[int, str] = {}
        self._hung: set[int] = set()
        self._serial = 0

    def configure(self, words: Words, generation: int, refusal: str = "") -> None:
        """Take what a worker says of this model: how many processes, its queue and its batches.

        ``refusal`` says why its processes cannot have their devices.
        """
        self.configured = True
        if refusal:
            self.replicas.refuse(refusal)
            if not self.replicas.ever_ready:
                self.fatal = refusal
            return
        batch = Batch(**words["batch"]) if words["batch"] else None
        self._queue.batch, self._queue.max_queue = batch, words["max_queue"]
        self._scaling = Scaling(words["processes"], max(words["processes"], words["max_processes"]))
        self.replicas.wanted = self.replicas.least = words["processes"]
        self.replicas.renew(generation)

    def close(self) -> None:
        """Let every process finish and end; start none."""
        self.replicas.wanted = 0
        for number, process in self.processes.items():
            self._send(process, {"type": "stop"})
            if number in self.replicas.members:
                self.replicas.members.pop(number)

    def submit(self, call: Call, now: float) -> None:
        """Put a call in line, or refuse it at once."""
        state, reason = self.replicas.state(now)
        try:
            if state is HealthState.FAILED:
                raise resting(reason, self._rest(now))
            self._queue.submit(call, call.key, now)
        except Unavailable as error:
            call.refuse(error)

    def cancel(self, call: Call) -> None:
        """Nobody waits for a call any more: out of the line with it, or tell its process."""
        call.submitter.calls.pop(call.number, None)
        call.cancelled = True
        if not self._queue.drop(call):
            self._pass_on(call, {"type": "cancel"}, [])

    def answer(self, call: Call, deadline: float, files: list[AnonymousFile]) -> None:
        """Pass the caller's answer on; from now on ``deadline`` is the call's."""
        self._pass_on(call, {"type": "answer", "deadline": deadline}, files, deadline)

    def _pass_on(self, call: Call, words: Words, files: list[AnonymousFile], deadline: float | None = None) -> None:
        """Send a message about a call to the process that runs it."""
        for number, batch in self._batches.items():
            for serial, one in batch.calls.items():
                if one is call:
                    batch.go_on(time.monotonic(), deadline)  # with an answer, or cancelled
                    self._send(self.processes[number], words | {"id": serial}, files)

    def advance(self, now: float) -> None:
        """Do what is due: start or stop processes, run calls, kill processes that hang."""
        self._carry_out(now)
        ready = self.replicas.ready_numbers()
        self._queue.places = len(ready) + len(self._batches.keys() - set(ready))  # those that drain hold theirs
        self._dispatch(now)
        self._scale(now)  # once free replicas have taken what waits
        self._end_hung(now)

    def _scale(self, now: float) -> None:
        """Have as many replicas as what waits for them needs, within the bounds of the model."""
        if self.replicas.wanted and self._scaling.most > self._scaling.least:
            running, serving = len(self._batches), self.replicas.serving
            self.replicas.wanted = self._scaling.wanted(now, pending=len(self._queue), running=running, serving=serving)

    def wake(self, now: float) -> float | None:
        """Return the time at which ``advance`` has work without another event."""
        grace = self._settings.cancel_grace
        ends = [batch.deadline + grace for number, batch in self._batches.items() if number not in self._hung]
        times = [self._queue.due(), self.replicas.wake(now), *(end for end in ends if math.isfinite(end))]
        return min((when for when in times if when is not None), default=None)

    def _reserve(self, number: int, generation: int) -> bool:
        assignment = self._ledger.take(self.name, number, generation)
        if assignment is not None:
            self._assigned[number] = assignment
        return assignment is not None

    def _carry_out(self, now: float) -> None:
        ending = len(self.processes) > len(self.replicas.members)
        for order in self.replicas.plan(now, ending=ending):
            if isinstance(order, Start):
                self.processes[order.number] = self._start(order.number, self._assigned[order.number])
            elif order.number in self.processes:
                self._send(self.processes[order.number], {"type": "stop"})

    def _dispatch(self, now: float) -> None:
        idle = [number for number in self.replicas.ready_numbers() if number not in self._batches]
        for number in idle:
            calls = self._queue.take(now)
            if not calls:
                return
            self._run(self.processes[number], calls, now)

    def _run(self, process: ReplicaProcess, calls: list[Call], now: float) -> None:
        numbered = {self._next(): call for call in calls}
        self._batches[process.number] = RunningBatch(numbered, len(calls), max(call.deadline for call in calls))
        words = {"type": "run", "calls": [[serial, len(call.files)] for serial, call in numbered.items()]}
        self._send(process, words, [file for call in calls for file in call.files])
        for call in calls:
            call.files = []  # the process has them now
            call.submitter.send({"type": "begun", "id": call.number, "queued": now - call.submitted})

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    def _send(self, process: ReplicaProcess, words: Words, files: list[AnonymousFile] | None = None) -> None:
        """Send, if it is still there; its end is noticed where it is read from."""
        with contextlib.suppress(OSError):
            process.channel.send(words, files or [])

    def on_message(self, process: ReplicaProcess, words: Words, files: list[AnonymousFile], now: float) -> None:
        """A process says something."""
        batch = self._batches.get(process.number)
        if words["type"] == "ready":
            self._take_in(process, words["card"])
        elif words["type"] == "failed":
            self._failed[process.number] = words["text"]
        elif words["type"] == "lost":
            process.note(words)
        elif words["type"] == "waits":
            self._note_wait(process.number, words["text"])
        elif words["type"] == "outcome" and batch:
            call = batch.calls.pop(words["id"])
            if not call.cancelled:
                call.settle({}, files)
            self.replicas.answered()
        elif words["type"] in ("progress", "log", "preview", "ask") and batch and words["id"] in batch.calls:
            call = batch.calls[words["id"]]
            if words["type"] == "ask":
                batch.ask(now)
            call.submitter.send({**words, "id": call.number}, files)
        elif words["type"] == "done" and batch:
            self._queue.finish(batch.size, words["seconds"], now)
            del self._batches[process.number]
            self._hung.discard(process.number)

    def _take_in(self, process: ReplicaProcess, card: Words) -> None:
        """A process is ready; one with other weights than those that answer is refused: a request may reach either."""
        now, before = card["weights_digest"], self.card.get("weights_digest", "")
        if now != before and self.replicas.has_twin(process.number):
            found = f"its weights ({now[:12]}) are not those of the replicas that answer ({before[:12]})"
            self._failed[process.number] = f"{found}; give each node the same files, or reload the server for new ones"
            process.kill()
            return
        self.replicas.ready(process.number)
        self.card = card
        on = f", {device}" if (device := self._assigned[process.number].device) else ""
        logger.info("the model on %s is ready (process %d%s)", self.name, process.number, on)

    def _note_wait(self, number: int, reason: str) -> None:
        if reason:
            logger.warning("a replica of the model on %s has not started: %s", self.name, reason)
        self.replicas.wait(number, reason)

    def died(self, process: ReplicaProcess, now: float) -> None:
        """The channel of a process is closed: what it was at fails now, what stands in line goes to another."""
        process.reap()
        hung = process.number in self._hung
        failed = self._failed.pop(process.number, "")
        reason = failed or ("it hung past deadline and grace" if hung else process.why())
        self._hung.discard(process.number)
        process.lost_at = now
        if batch := self._batches.pop(process.number, None):
            self._queue.finish(batch.size, None, now)
            for call in batch.calls.values():
                if not call.cancelled:
                    call.refuse(ModelDied("The process of this model died while it ran this request; send it again."))
        if process.number in self.replicas.members:
            busy = batch is not None or process.number not in self.replicas.ready_numbers()
            innocent = not failed and not hung and process.is_innocent(busy=busy)
            draining = not self.replicas.died(process.number, reason, now, for_good=bool(failed), innocent=innocent)
            if not draining:
                on = f" ({device})" if (device := self._assigned[process.number].device) else ""
                logger.error("the process of the model on %s%s is gone: %s", self.name, on, reason)
            if not self.replicas.ever_ready and self.replicas.resting(now):
                self.fatal = f"The model on {self.name} could not be set up: {reason}"
        if self.replicas.resting(now) and not self.replicas.serving:
            self._refuse_all(now)

    def _refuse_all(self, now: float) -> None:
        """No process will come soon: tell those in line."""
        for call in self._queue.clear():
            self.submit(call, now)

    def reap(self, now: float) -> None:
        """Forget processes that have ended, and end those that should have."""
        for number, process in list(self.processes.items()):
            if process.lost_at is not None and process.ended:
                del self.processes[number], self._assigned[number]
                self._ledger.release(self.name, number)
            elif process.overdue(now):
                process.kill()

    def _end_hung(self, now: float) -> None:
        for number, batch in self._batches.items():
            if number not in self._hung and now >= batch.deadline + self._settings.cancel_grace:
                self._hung.add(number)
                self.processes[number].kill()

    def health(self, now: float) -> ModelHealth:
        """The state of the model, as sent to the workers."""
        state, reason = at_work(self.replicas.state(now), hung=len(self._hung), full=self._queue.full)
        return ModelHealth(
            state=state,
            reason=reason,
            queued=len(self._queue),
            running=self._queue.running,
            places=self.replicas.serving,
            restarts=self.replicas.restarts,
            service_seconds=round(self._queue.service_seconds, 3),
            rest_seconds=self._rest(now) if state is HealthState.FAILED else 0,
            devices=self._devices(),
        )

    def _devices(self) -> dict[str, DeviceUse]:
        """The devices of the processes that answer."""
        found: dict[str, DeviceUse] = {}
        for one in map(self._assigned.__getitem__, self.replicas.ready_numbers()):
            if one.device not in ("", NONE):
                known = found.get(one.device, DeviceUse())
                found[one.device] = DeviceUse(known.processes + 1, known.memory + one.memory)
        return found

    def _rest(self, now: float) -> int:
        """Whole seconds, one at least, until a process is started again."""
        return max(1, math.ceil((self.replicas.wake(now) or now) - now))
