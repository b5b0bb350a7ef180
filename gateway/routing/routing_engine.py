"""The engine of routing in one process: its errands are the rounds and the routings that are due.

Any number of engines, of any processes, share one index. What one has begun and died with is due again when its lease
ends, which is as long as that of a run. Each step is repeated without harm: a run has its id by rule and content, and
its results are stored with the end of its routing.
"""

import logging
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from gateway.errors import GatewayError
from gateway.observe.logs import describe_error
from gateway.routing.judging import Judge
from gateway.routing.result_objects import ResultObjects
from gateway.routing.rule_runs import RuleRuns
from gateway.routing.rules_file import rules_of
from gateway.routing.study_counts import UNKNOWN, StudyCounts
from gateway.runs.lifecycle import ENDED
from gateway.runs.runs import Runs
from gateway.service.service import Service
from gateway.studies import round_rows, routing_rows
from gateway.studies.arriving import NEWS
from gateway.studies.errands import ErrandRunner
from gateway.studies.row_leases import RowLeases
from gateway.studies.store import Store

logger = logging.getLogger("gateway")

THREADS = 4
"""Steps of one process at once: a peer that is slow to state a number delays no other study."""
PAUSE = 5.0
"""Seconds before a step is repeated that met an error of the store or of the gateway."""


@dataclass(frozen=True)
class Step:
    """A claimed piece of work: ``id`` is that of its round or routing, whose ``leases`` it is of."""

    leases: RowLeases
    id: str
    work: Callable[[], None]


@dataclass(frozen=True)
class RoutingErrands:
    """The ``Errands`` of routing; each step is a receiver of its own.

    ``holder`` is the name by which this process claims what is due, that of ``judge`` and ``runs`` too.
    """

    store: Store
    judge: Judge
    runs: RuleRuns
    holder: str

    name = "routing"

    def due_at(self, connection: Connection) -> float | None:
        """See ``Errands``."""
        moments = (rows.LEASES.next_due(connection) for rows in (round_rows, routing_rows))
        return min((moment for moment in moments if moment is not None), default=None)

    def claim(self, connection: Connection, now: float, lease: float, _busy: Collection[str]) -> Step | None:
        """See ``Errands``; routings come first, since they end what rounds begin."""
        routing = routing_rows.claim(connection, self.holder, now, lease)
        if routing is not None:
            return Step(routing_rows.LEASES, routing.id, lambda: self.runs.step(routing))
        found = round_rows.claim(connection, self.holder, now, lease)
        return None if found is None else Step(round_rows.LEASES, found.id, lambda: self.judge.judge(found))

    def renew(self, connection: Connection, item: Step, _ends: float, until: float) -> None:
        """See ``Errands``."""
        item.leases.renew(connection, item.id, self.holder, until)

    def receiver(self, item: Step) -> str:
        """See ``Errands``."""
        return item.id

    def attempt(self, item: Step, _stopped: Callable[[], bool]) -> None:
        """See ``Errands``; what meets an error is repeated soon, or once its lease ends where the index is away."""
        try:
            item.work()
        except Exception as error:
            logger.warning("a study was not routed for now: %s", describe_error(error))
            with suppress(GatewayError), self.store.index.writing() as connection:
                item.leases.renew(connection, item.id, self.holder, self.store.clock() + PAUSE)


class RoutingEngine:
    """Routes studies until it is stopped."""

    def __init__(self, store: Store, errands: RoutingErrands) -> None:
        self._store, self.errands, lease = store, errands, store.settings.run_lease
        self._runner: ErrandRunner[Step] = ErrandRunner(
            store.index, errands, store.clock, lease=lease, places=THREADS, last_seconds=lease
        )

    def start(self) -> None:
        """Begin to route; once is enough."""
        self._runner.start()

    def wake(self) -> None:
        """Look into the index now; returns at once."""
        self._runner.wake()

    def stop(self) -> None:
        """Begin no more steps, and wait for those in flight; what is not done is another process's."""
        self._runner.stop()

    def signalled(self, key: str, word: str) -> None:
        """Take a signal: instances have arrived, an association or a run has ended; returns at once."""
        if key in NEWS or word in ENDED:
            self.wake()

    def run_ended(self, connection: Connection, key: str) -> None:
        """Make the routing of a run due, within the transaction that ends the run."""
        routing_rows.run_ended(connection, key, self._store.clock())


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
    engine = RoutingEngine(store, RoutingErrands(store, judge, steps, holder))
    runs.listen(engine.signalled)
    runs.on_end(engine.run_ended)
    return engine
