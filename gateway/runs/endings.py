"""The end of an attempt, recorded although the store is away or full for a while: no answer has to be made twice."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from gateway.errors import Cancelled, GatewayError, StorageFull, Unavailable
from gateway.runs.consequences import StopReason, problem_words
from gateway.runs.journals import Journal
from gateway.runs.ledger import Ledger
from gateway.runs.lifecycle import RunState, RunStatus
from gateway.runs.payloads import Payload, Words, settled
from gateway.runs.rows import RESULT, Run, row_of, status_of
from gateway.studies.store import Store

logger = logging.getLogger("gateway")

PAUSE_SECONDS = 0.1, 2.0
"""The first and the longest pause before a change is made again: most outages are restarts of a database."""


@dataclass
class Ending:
    """What becomes of one attempt at ``run``, in the index. ``stopped`` is why the attempt should stop, if it should.

    A change that the store cannot take is made again after growing pauses. Another process may take the run over
    meanwhile, once its lease has ended: the first change of the two counts, since each checks that the run is still
    ``holder``'s.
    """

    ledger: Ledger
    run: Run
    holder: str
    journal: Journal
    full_seconds: float
    """Seconds in which a full store may get room for an answer, if it can have any."""
    stopped: StopReason | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)

    def stop(self, why: StopReason) -> None:
        """Have the attempt stop; of two reasons the greater counts."""
        self.stopped = max(self.stopped or why, why)
        self._stopping.set()

    def lost(self) -> Cancelled:
        """Return the error of a run that another process has now, or that was forgotten."""
        self.stop(StopReason.LOST)
        return Cancelled("The run is not this process's any more.")

    def finish(self, words: Words, pieces: list[memoryview]) -> None:
        """Store the answer and end the run, in one transaction.

        Raises StorageFull where no room was found in time, Cancelled, and Unavailable where the worker stops first.
        """

        def store() -> None:
            self.journal.flush()
            with settled(self.ledger.store, words, pieces) as payload, self.ledger.changing() as changes:
                changes.make_room(self.run.caller, payload.size)
                if changes.move(self.run.key, lambda status: status.end(self.holder, RunState.FINISHED)) is None:
                    raise self.lost()
                changes.record(self.run.key, RESULT, payload)

        fits = sum(piece.nbytes for piece in pieces) <= self.ledger.store.settings.store_max_bytes
        try:
            self._persist(store, lambda: self.stopped is not None, self.full_seconds if fits else 0.0)
        except (StorageFull, Unavailable):
            if self.stopped is StopReason.CANCELLED:
                raise Cancelled from None
            raise

    def move(self, move: Callable[[RunStatus, float], RunStatus | None]) -> RunStatus | None:
        """Make a move, which receives the time too; None where it is not allowed. Raises as ``fail``."""
        moved: list[RunStatus | None] = []

        def store() -> None:
            self._tell()
            with self.ledger.changing() as changes:
                moved.append(changes.move(self.run.key, lambda status: move(status, changes.now)))

        self._persist(store, self._is_left)
        return moved[-1]

    def fail(self, state: RunState, error: GatewayError, request_id: str) -> None:
        """End the run with a problem.

        Raises StorageFull and Unavailable where the worker stops first, Cancelled where another process has the run.
        """

        def store() -> None:
            self._tell()
            with problem_payload(self.ledger.store, error, request_id) as payload, self.ledger.changing() as changes:
                if changes.move(self.run.key, lambda status: status.end(self.holder, state)) is not None:
                    changes.explain(self.run.key, payload, error)

        self._persist(store, self._is_left)

    def _tell(self) -> None:
        """Write what the model has told; a full disk has no room for it."""
        with suppress(StorageFull):
            self.journal.flush()

    def _is_left(self) -> bool:
        return self.stopped is not None and self.stopped > StopReason.CANCELLED

    def _persist(self, store: Callable[[], None], over: Callable[[], bool], full_seconds: float = math.inf) -> None:
        """Call ``store`` until it succeeds. Raises its last error once it is ``over``, or full for ``full_seconds``."""
        pause, longest = PAUSE_SECONDS
        full_until = math.inf
        while True:
            try:
                return store()
            except (StorageFull, Unavailable) as error:
                if isinstance(error, StorageFull):
                    full_until = min(full_until, time.monotonic() + full_seconds)
                if over() or time.monotonic() >= full_until:
                    raise
                if pause == PAUSE_SECONDS[0]:
                    logger.warning("the end of a run waits for the store: %s %s", error.code, error.private)
            if self._stopping.wait(pause):
                self._stopping.clear()
            pause = min(2 * pause, longest)
            self._check()

    def _check(self) -> None:
        """Raise Cancelled where another process has the run by now. An answer is not written again to learn that."""
        with suppress(Unavailable), self.ledger.reading() as connection:
            row = row_of(connection, self.run.key)
            if row is None or not status_of(row).held_by(self.holder):
                raise self.lost()


@contextmanager
def problem_payload(store: Store, error: GatewayError, request_id: str) -> Iterator[Payload | None]:
    """The payload of a problem, settled; None where the disk has no room for it. Raises Unavailable."""
    with ExitStack() as stack:
        payload = None
        with suppress(StorageFull):
            payload = stack.enter_context(settled(store, problem_words(error, request_id)))
        yield payload
