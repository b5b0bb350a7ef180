"""The executing side of one process: it claims queued runs, renews their leases, and takes over those of the dead."""

import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from sqlalchemy import ColumnElement, select, update

from gateway.errors import RunAbandoned
from gateway.executors.runner import execution_of
from gateway.executors.states import ModelHealth
from gateway.observe.logs import describe_error, exception_frames
from gateway.runs.attempts import Attempt
from gateway.runs.consequences import StopReason
from gateway.runs.endings import problem_payload
from gateway.runs.leases import Leases
from gateway.runs.ledger import CANCELLING, Ledger
from gateway.runs.lifecycle import EXECUTING, LONGEST_PAUSE, RunState
from gateway.runs.rows import Run, row_of
from gateway.service.exchange import new_request_id
from gateway.service.service import Service
from gateway.studies.tables import runs

logger = logging.getLogger("gateway")

LOOK_SECONDS = 1.0
"""Seconds between two looks at the index without a signal: for runs that wait for a place, and for lost signals."""
FLUSH_SECONDS = 0.25
"""Seconds between two writes of what models tell their callers."""
STOP_SECONDS = 2.0
"""Seconds that stopped attempts have to give their runs back."""


class Dispatcher:
    """The runs that this process executes, each in a thread; ``close`` gives them back."""

    def __init__(self, service: Service, ledger: Ledger, upkeep: Callable[[], None]) -> None:
        """``upkeep`` is called at each look."""
        self.holder = secrets.token_hex(16)
        self._service, self._ledger, self._upkeep = service, ledger, upkeep
        self._settings = service.settings
        self._attempts: dict[str, Attempt] = {}
        self._leases = Leases(service.settings.run_lease)
        self._woken, self._dirty, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._ended = threading.Condition()
        self._started = self._draining = False
        self._look_at = self._renew_at = 0.0
        self._threads = [
            threading.Thread(target=self._serve, args=[work], name=name, daemon=True)
            for name, work in (("gateway-runs", self._turn), ("gateway-run-journals", self._flush))
        ]

    def start(self) -> None:
        """Begin to claim runs; once is enough."""
        with self._ended:
            for thread in self._threads if not self._started else ():
                thread.start()
            self._started = True

    def signalled(self, key: str, word: str) -> None:
        """Take a signal: a run can be claimed, or one of this process should stop."""
        if word == CANCELLING and (attempt := self._attempts.get(key)):
            attempt.stop(StopReason.CANCELLED)
        elif word == RunState.RUNNING and (attempt := self._attempts.get(key)):
            attempt.conversation.answered.set()
        elif word == RunState.QUEUED or (word == RunState.WAITING and key in self._attempts):
            self._woken.set()

    def drain(self) -> None:
        """Claim no more runs; those that are executed continue, but for those that wait for input.

        A handler of signals calls it, and another signal may interrupt that at any place: once is enough, since the
        lock of an Event is not re-entrant.
        """
        if self._draining:
            return
        self._draining = True
        self._look_at = 0.0
        self._woken.set()

    @property
    def busy(self) -> bool:
        """Return True while a run is executed."""
        return bool(self._attempts)

    def close(self) -> None:
        """Stop the attempts and give their runs back."""
        self._draining = True
        for attempt in list(self._attempts.values()):
            attempt.stop(StopReason.DRAINING)
        with self._ended:
            self._ended.wait_for(lambda: not self._attempts, STOP_SECONDS)
        self._closed.set()
        self._woken.set()
        self._dirty.set()
        for thread in self._threads if self._started else ():
            thread.join()

    def _serve(self, work: Callable[[], None]) -> None:
        """Work until closed; an error of the store ends one turn."""
        while not self._closed.is_set():
            try:
                work()
            except Exception as error:
                logger.warning("runs were not looked after: %s", describe_error(error))
                self._closed.wait(LOOK_SECONDS)

    def _turn(self) -> None:
        self._woken.wait(LOOK_SECONDS)
        self._woken.clear()
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._renew()
            self._take_over()
            self._upkeep()
        self._park()
        if not self._draining:
            self._claim()

    def _park(self) -> None:
        """Stop the models that have waited for input too long, or with too many others: their answers queue the runs.

        Those that wait for a password are stopped last, since they have to ask again.
        """
        most = 0 if self._draining else self._settings.max_waiting_runs
        now, waiting = time.monotonic(), list[tuple[bool, float, Attempt]]()
        for attempt in list(self._attempts.values()):
            if (since := attempt.conversation.waiting_since) is not None:
                waiting.append((attempt.conversation.waits_for_secret, since, attempt))
        waiting.sort(key=lambda one: one[:2])
        excess = len(waiting) - most
        for number, (_, since, attempt) in enumerate(waiting):
            if number < excess or now - since >= self._settings.run_park:
                attempt.stop(StopReason.PARKED)

    def _flush(self) -> None:
        self._dirty.wait()
        self._dirty.clear()
        for attempt in list(self._attempts.values()):
            attempt.journal.flush()
        self._closed.wait(FLUSH_SECONDS)

    def _claim(self) -> None:
        """Claim as many queued runs as there is room for, the oldest of each route first."""
        count = int(min(self._settings.run_concurrency - len(self._attempts), self._service.free_places))
        room = self._room() if count > 0 else {}
        queued = list[tuple[float, str]]()
        with self._ledger.reading() as connection:
            now, available_at = self._ledger.now(connection), runs.c.available_at
            paused = (available_at > now) & (available_at <= now + LONGEST_PAUSE)
            available = runs.c.state == RunState.QUEUED.value, ~paused
            for route, places in room.items():
                query = select(runs.c.created_at, runs.c.key).where(*available, self._others, runs.c.route == route)
                oldest = query.order_by(runs.c.created_at).limit(min(places, count))
                queued += [(created_at, key) for created_at, key in connection.execute(oldest)]
        if queued:
            self._begin([key for _, key in sorted(queued)[:count]])

    @property
    def _others(self) -> ColumnElement[bool]:
        """The runs that this process does not execute. It neither takes over nor claims what it executes still.

        A process that stood still, or could not reach the database for longer than a lease, would execute it twice.
        """
        return runs.c.key.not_in(list(self._attempts))

    def _room(self) -> dict[str, int]:
        """Return the routes whose models have places now, with their number: the deadline starts with the claim."""
        own = Counter(attempt.run.route for attempt in self._attempts.values())
        health = self._service.executors.health()
        free = {name: self._free(name, own[name], health) for name in self._service.models}
        return {name: count for name, count in free.items() if count > 0}

    def _free(self, name: str, own: int, health: Mapping[str, ModelHealth]) -> int:
        known = health.get(name)
        if known is None or not known.serves:
            return 0
        execution = execution_of(self._service.models[name], self._settings)
        size = execution.batch.max_size if execution.batch else 1
        places = known.places * size or self._settings.run_concurrency
        return places - max(own, known.running + known.queued if known.places else 0)

    def _begin(self, keys: list[str]) -> None:
        lease, claimed = self._settings.run_lease, list[Run]()
        until = time.monotonic() + lease
        with self._ledger.changing() as changes:
            for key in keys:
                if changes.move(key, lambda status: status.claim(self.holder, changes.now, lease)) is not None:
                    claimed.append(Run.of(row_of(changes.connection, key)))
        for run in claimed:
            most = self._settings.run_attempts
            attempt = Attempt(self._service, self._ledger, run, self.holder, most, until, self._dirty)
            self._attempts[run.key] = attempt
            threading.Thread(target=self._execute, args=[attempt], name="gateway-run", daemon=True).start()

    def _execute(self, attempt: Attempt) -> None:
        """A thread's life: one attempt. Where its end cannot be recorded, its lease ends."""
        try:
            attempt.execute()
        except Exception as error:
            logger.error("the end of a run was not recorded\n%s", exception_frames(error))
        finally:
            with self._ended:
                del self._attempts[attempt.run.key]
                self._ended.notify_all()
            self._woken.set()

    def _renew(self) -> None:
        """Renew the leases three times in their duration, and learn which runs were cancelled or lost.

        The lease of an attempt whose end could not be recorded is left to end.
        """
        now, lease = time.monotonic(), self._settings.run_lease
        attempts = list(self._attempts.values())
        if not attempts or now < self._renew_at:
            return
        mine = runs.c.holder == self.holder, ~self._others, runs.c.state.in_([*map(str, EXECUTING)])
        with self._ledger.changing() as changes:
            query = update(runs).where(*mine).values(lease_until=changes.now + lease)
            rows = changes.connection.execute(query.returning(runs.c.key, runs.c.cancelling)).all()
        self._renew_at = now + lease / 3
        cancelling = {key: bool(value) for key, value in rows}
        for attempt in attempts:
            if attempt.run.key in cancelling:
                attempt.lease_until = now + lease
            if cancelling.get(attempt.run.key, True):
                attempt.stop(StopReason.CANCELLED if attempt.run.key in cancelling else StopReason.LOST)

    def _take_over(self) -> None:
        """Queue the runs again whose process did not renew its lease, or fail them after the last attempt."""
        executing = runs.c.state.in_([*map(str, EXECUTING)]) & (runs.c.holder != "")
        with self._ledger.reading() as connection:
            query = select(runs.c.key, runs.c.lease_until).where(executing, self._others)
            leases = {key: float(until) for key, until in connection.execute(query)}
            now = self._ledger.now(connection)
        for key, until in self._leases.ended(leases, now, time.monotonic()).items():
            self._expire(key, until)

    def _expire(self, key: str, until: float) -> None:
        most, request_id = self._settings.run_attempts, new_request_id()
        error = RunAbandoned(f"The processes that executed this run died, {most} in a row; submit it again later.")
        with problem_payload(self._ledger.store, error, request_id) as payload, self._ledger.changing() as changes:
            status = changes.move(key, lambda status: status.expire(max(changes.now, until), most))
            if status is None:
                return
            if status.state is RunState.FAILED:
                changes.explain(key, payload, error)
        self._service.metrics.run_restarts.inc()
        logger.warning("a run whose process died is %s [%s]", status.state.value, request_id)
