"""Models inside the HTTP worker: each has a line of its own and threads that run it."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context

from gateway.config import Settings
from gateway.contract.execution import Card, HealthState
from gateway.contract.model import Model
from gateway.contract.requests import Request, Result
from gateway.errors import ModelDied, Unavailable
from gateway.executors.device_errors import DeviceFailed
from gateway.executors.pending_call import PendingCall
from gateway.executors.queues import Queue
from gateway.executors.runner import AnswerChecks, answer, batch_key_of, execution_of, own, prepare
from gateway.executors.states import ModelHealth, at_work
from gateway.executors.surroundings import Folder, set_apart

UNBOUNDED = 1 << 30
"""A queue as long as the worker's places allow, where a model's concurrency has no bound."""
DEVICE_FAILED = "The device of this model failed while it ran this request; send it again."
IDLE_SECONDS = 60.0
"""How long a thread without work is kept."""


class InlineExecutor:
    """Runs each model in threads of this process.

    A thread that runs past its request's deadline cannot be stopped: it keeps its place until the model returns, and
    once its grace is over too the model counts as degraded, or failed where no place is left.
    """

    memory = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runners: dict[str, ModelRunner] = {}
        self._abandoned: set[_Job] = set()

    def add(self, model: Model) -> None:
        """Take a model in, before it is set up."""
        self._runner(model)

    def _runner(self, model: Model) -> "ModelRunner":
        runner = self._runners.get(model.name)
        return runner or self._runners.setdefault(model.name, ModelRunner(model, self._settings, self._abandoned))

    def set_up(self, model: Model, *, warm: bool) -> None:
        """Set it up, and warm it up; meanwhile it is starting. Raises what the model raises, and it is failed then."""
        self._runner(model).set_up(warm)

    def admit(self, model: Model) -> None:
        """Raises Unavailable where a request for this model would find no room."""
        self._runner(model).admit()

    def card(self, model: Model) -> Card | None:
        """Return the model's identity in names and digests; None before it is set up."""
        return model.card if self._runner(model).is_set_up else None

    def retry_after(self, model: Model) -> int:
        """Whole seconds, by its usual time, until a request of this model is likely to be over."""
        return self._runner(model).retry_after()

    def run(self, model: Model, request: Request, checks: AnswerChecks, gone: Callable[[], bool]) -> Result:
        """Have a request answered.

        Raises Unavailable where the line is full, DeadlineExceeded, Cancelled where ``gone`` says that the client has
        left, and what the model raises.
        """
        return self._runner(model).run(request, checks, gone)

    def abandoned(self) -> int:
        """Calls that run though nobody waits for them any more; each holds the place of the request that it was."""
        return len(self._abandoned)

    def health(self) -> Mapping[str, ModelHealth]:
        """Each model's health, by its name; waits for no model."""
        return {name: runner.health() for name, runner in self._runners.items()}

    @property
    def device_failed(self) -> bool:
        """True once a device answers this process no more: it serves no model that uses it."""
        return any(runner.device_failed for runner in self._runners.values())

    def close(self) -> None:
        """Refuse what still stands in line."""
        for runner in self._runners.values():
            runner.close()


class ModelRunner:
    """A model, its queue, and the threads that run it: as many as ever ran at once, reused."""

    def __init__(self, model: Model, settings: Settings, abandoned: "set[_Job]") -> None:
        """``abandoned`` has the calls of all models that run though nobody waits for them any more."""
        execution = execution_of(model, settings)
        places = execution.concurrency or (1 if execution.batch else None)
        self._model = model
        self._grace = settings.cancel_grace
        self._folder = Folder()
        self._queue: Queue[_Job] = Queue(
            places=places, max_queue=(execution.max_queue or 0) if places else UNBOUNDED, batch=execution.batch
        )
        self._lock = threading.RLock()  # re-entrant: a signal's handler asks for health in between
        self._changed = threading.Condition(self._lock)
        self._idle = 0
        self._threads = 0
        self._running: set[_Job] = set()
        """Calls in a thread now, abandoned ones too."""
        self._abandoned = abandoned
        self._state = HealthState.STARTING if model.needs_loading else HealthState.READY
        self._reason = "" if self._state is HealthState.READY else "its setup is not through"
        self.device_failed = False

    @property
    def is_set_up(self) -> bool:
        """True once its setup has ended, or where none is needed."""
        return self._state is HealthState.READY

    def set_up(self, warm: bool) -> None:
        """See InlineExecutor.set_up."""
        try:
            set_apart()
            with self._folder:
                prepare(self._model, warm=warm)
        except BaseException:
            self._state, self._reason = HealthState.FAILED, "its setup or warm-up failed; the log says why"
            raise
        self._state, self._reason = HealthState.READY, ""

    def admit(self) -> None:
        """See InlineExecutor.admit. A model that is starting is waited for, as its first request always did."""
        with self._lock:
            if self._queue.full:
                raise self._queue.refusal()

    def retry_after(self) -> int:
        """See InlineExecutor.retry_after."""
        return max(1, math.ceil(self._queue.wait()))

    def run(self, request: Request, checks: AnswerChecks, gone: Callable[[], bool]) -> Result:
        """See InlineExecutor.run."""
        job = _Job(request, checks, batch_key_of(self._model, request))
        with self._lock:
            self._queue.submit(job, job.key, time.monotonic())
            if self._idle < len(self._queue) and self._threads < (self._queue.places or UNBOUNDED):
                self._threads += 1
                threading.Thread(target=self._serve, name=f"gateway-model-{self._model.name}", daemon=True).start()
            else:
                self._changed.notify()
        try:
            return job.result(gone)
        except BaseException:
            self._leave(job)
            raise

    def _leave(self, job: "_Job") -> None:
        with self._lock:
            if job in self._running:
                self._abandoned.add(job)
            self._queue.drop(job)

    def _serve(self) -> None:
        """A thread's life: take the next, run it, again, until there is nothing to do for a while."""
        set_apart()
        while jobs := self._next():
            started = time.monotonic()
            for job in jobs:
                job.begin(started - job.submitted)
            with self._folder:
                outcomes = own(jobs[0].context.run(answer, self._model, [job.request for job in jobs], jobs[0].checks))
            if failed := next((one for one in outcomes if isinstance(one, DeviceFailed)), None):
                self._state, self._reason, self.device_failed = HealthState.FAILED, str(failed), True
                outcomes = [ModelDied(DEVICE_FAILED) for _ in jobs]
            with self._lock:
                self._running.difference_update(jobs)
                self._abandoned.difference_update(jobs)
                waited = sum(job.request.context.waited for job in jobs)
                self._queue.finish(len(jobs), time.monotonic() - started - waited, time.monotonic())
            for job, outcome in zip(jobs, outcomes, strict=True):
                job.settle(outcome)
            del jobs, job, outcomes, outcome  # while the thread waits, nothing of a request is held

    def _next(self) -> "list[_Job]":
        """The jobs to run, waited for; none when the thread should end."""
        with self._lock:
            while True:
                jobs = self._queue.take(time.monotonic())
                if jobs:
                    self._running.update(jobs)
                    return jobs
                due = self._queue.due()
                self._idle += 1
                woken = self._changed.wait(IDLE_SECONDS if due is None else max(0.0, due - time.monotonic()))
                self._idle -= 1
                if not woken and due is None and not len(self._queue):  # one may have come as the time ran out
                    self._threads -= 1
                    return []

    def health(self) -> ModelHealth:
        """See InlineExecutor.health."""
        late = time.monotonic() - self._grace
        with self._lock:
            hung = sum(job.request.context.deadline < late for job in self._running)
            lost = hung >= (self._queue.places or UNBOUNDED)
            state, reason = at_work((self._state, self._reason), hung=hung, lost=lost, full=self._queue.full)
            return ModelHealth(
                state=state,
                reason=reason,
                queued=len(self._queue),
                running=self._queue.running,
                places=self._queue.places or 0,
                service_seconds=round(self._queue.service_seconds, 4),
            )

    def close(self) -> None:
        """See InlineExecutor.close."""
        with self._lock:
            waiting = self._queue.clear()
        for job in waiting:
            job.settle(Unavailable("The gateway is stopping; try again."))


class _Job(PendingCall):
    def __init__(self, request: Request, checks: AnswerChecks, key: str) -> None:
        super().__init__(request, key)
        self.checks = checks
        self.context = copy_context()
        """Of the request's thread, for handlers that look at ``flask.request``."""
