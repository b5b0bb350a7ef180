"""The engine of routing in one process: it looks at the rounds and the routings that are due, each leased by the index.

Any number of engines, of any processes, share one index. What one has begun and died with is due again when its lease
ends, which is as long as that of a run. Each step is repeated without harm: a run has its id by rule and content, and
its results are stored with the end of its routing.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType

from sqlalchemy import Connection

from gateway.errors import GatewayError
from gateway.observe.logs import exception_frames
from gateway.routing.judging import Judge
from gateway.routing.result_objects import ResultObjects
from gateway.routing.rule_runs import RuleRuns
from gateway.routing.rules_file import rules_of
from gateway.routing.study_counts import UNKNOWN, StudyCounts
from gateway.runs.lifecycle import RunState
from gateway.runs.runs import Runs
from gateway.service.service import Service
from gateway.studies import round_rows, routing_rows
from gateway.studies.arriving import NEWS
from gateway.studies.store import Store

logger = logging.getLogger("gateway")

LOOK = 5.0
"""Seconds between two looks into the index, for what no signal announced here."""
THREADS = 4
"""Steps of one process at once: a peer that is slow to state a number delays no other study."""
PAUSE = 5.0
"""Seconds before a step is repeated that met an error of the store or of the gateway."""

ENDED = {state.value for state in RunState if state.ended}


@dataclass(frozen=True)
class Step:
    """A claimed piece of work: ``id`` is that of its round or routing, which ``rows`` keep."""

    rows: ModuleType
    id: str
    work: Callable[[], None]


class RoutingEngine:
    """Routes studies until it is stopped."""

    def __init__(self, store: Store, judge: Judge, runs: RuleRuns, holder: str) -> None:
        """``holder`` is the name by which this process claims what is due, that of ``judge`` and ``runs`` too."""
        self._store, self._judge, self._runs, self._holder = store, judge, runs, holder
        self._stopped, self._news = threading.Event(), threading.Event()
        self._lease = store.settings.run_lease
        self._renew_at = 0.0
        self._places = threading.Semaphore(THREADS)
        self._lock = threading.Lock()
        self._flying: dict[threading.Thread, Step] = {}
        self._thread = threading.Thread(target=self._serve, name="gateway-routing", daemon=True)
        self._started = False

    def start(self) -> None:
        """Begin to route; once is enough."""
        with self._lock:
            if not self._started:
                self._started = True
                self._thread.start()

    def wake(self) -> None:
        """Look into the index now; returns at once."""
        self._news.set()

    def signalled(self, key: str, word: str) -> None:
        """Take a signal: instances have arrived, an association or a run has ended; returns at once."""
        if key in NEWS or word in ENDED:
            self.wake()

    def run_ended(self, connection: Connection, key: str) -> None:
        """Make the routing of a run due, within the transaction that ends the run."""
        routing_rows.run_ended(connection, key, self._store.clock())

    def stop(self) -> None:
        """Begin no more steps, and wait for those in flight; what is not done is another process's."""
        self._stopped.set()
        self.wake()
        if self._started:
            self._thread.join()
        with self._lock:
            flying = list(self._flying)
        for thread in flying:
            thread.join(self._lease)

    def turn(self) -> bool:
        """Take the next step that is due, in this thread; False where none is."""
        step = self.claim()
        if step is not None:
            self._take(step)
        return step is not None

    def _serve(self) -> None:
        while not self._stopped.is_set():
            self._news.clear()
            try:
                pause = self._begin()
            except Exception as error:  # of the index, or no thread can be started; the next turn may do better
                _warn("studies were not routed", error)
                pause = PAUSE
            self._news.wait(pause)

    def _begin(self) -> float:
        """Begin what is due, each step in a thread; return the seconds until the next look."""
        self._renew()
        while not self._stopped.is_set() and self._places.acquire(blocking=False):
            step = None
            try:
                step = self.claim()
                if step is None:
                    return self._pause()
                self._fly(step)
            finally:
                if step is None:
                    self._places.release()
        return min(LOOK, self._lease / 3)

    def _renew(self) -> None:
        """Renew the leases of steps in flight three times in their duration."""
        with self._lock:
            flying = list(self._flying.values())
        if not flying or time.monotonic() < self._renew_at:
            return
        self._renew_at = time.monotonic() + self._lease / 3
        with self._store.index.writing() as connection:
            until = self._store.clock() + self._lease
            for step in flying:
                step.rows.renew(connection, step.id, self._holder, until)

    def _fly(self, step: Step) -> None:
        thread = threading.Thread(target=self._land, args=[step], name="gateway-routing-step", daemon=True)
        with self._lock:  # a thread that ends at once waits for it
            thread.start()
            self._flying[thread] = step

    def _land(self, step: Step) -> None:
        try:
            self._take(step)
        finally:
            with self._lock:
                self._flying.pop(threading.current_thread(), None)
            self._places.release()
            self.wake()

    def _pause(self) -> float:
        due_at = self._due_at()
        longest = min(LOOK, self._lease / 3)
        return longest if due_at is None else min(longest, max(0.0, due_at - self._store.clock()))

    def _due_at(self) -> float | None:
        with self._store.index.reading() as connection:
            moments = round_rows.next_due(connection), routing_rows.next_due(connection)
        return min((moment for moment in moments if moment is not None), default=None)

    def claim(self) -> Step | None:
        """Claim what is due longest of each kind, routings first: they end what rounds begin."""
        due_at, now = self._due_at(), self._store.clock()
        if due_at is None or due_at > now:
            return None
        with self._store.index.writing() as connection:
            routing = routing_rows.claim(connection, self._holder, now, self._lease)
            if routing is not None:
                return Step(routing_rows, routing.id, lambda: self._runs.step(routing))
            found = round_rows.claim(connection, self._holder, now, self._lease)
            return None if found is None else Step(round_rows, found.id, lambda: self._judge.judge(found))

    def _take(self, step: Step) -> None:
        """Take a step; one that meets an error is repeated soon, or once its lease ends where the index is away."""
        try:
            step.work()
        except Exception as error:
            _warn("a study was not routed for now", error)
            with suppress(GatewayError), self._store.index.writing() as connection:
                step.rows.renew(connection, step.id, self._holder, self._store.clock() + PAUSE)


def _warn(what: str, error: Exception) -> None:
    private = error.private if isinstance(error, GatewayError) else f"\n{exception_frames(error)}"
    logger.warning("%s: %s %s", what, type(error).__name__, private)


def open_engine(service: Service, runs: Runs, wake: Callable[[], None]) -> RoutingEngine:
    """Return the engine of an application, by the rules that its settings name; ``wake`` has deliveries begin.

    Raises ValueError with a sentence for each fault of the rules.
    """
    assert service.store is not None
    peers = service.peers
    rules = rules_of(service.settings, service.models)
    count = StudyCounts(peers).ask if peers is not None else lambda _name, _study: UNKNOWN

    store, holder = service.store.store, secrets.token_hex(16)
    judge = Judge(store, rules, count, holder)
    objects = ResultObjects(store, service.models, holder, wake)
    steps = RuleRuns(service, runs, store, rules, objects, holder)
    engine = RoutingEngine(store, judge, steps, holder)
    runs.listen(engine.signalled)
    runs.on_end(engine.run_ended)
    return engine
