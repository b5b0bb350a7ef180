"""The runs of one process: submitted, read, waited for, cancelled and forgotten; executed by its dispatcher."""

import base64
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

from gateway.contract.requests import JSON
from gateway.errors import RunEnded, RunNotFound, RunNotReady, RunNotWaiting, StudyNotFound
from gateway.intake.admission import Ticket
from gateway.intake.receiving import ReceiveOptions
from gateway.intake.recording import receive_recorded
from gateway.observe.phases import Phases
from gateway.protocol.questions import is_secret, read_reply
from gateway.runs import upkeep
from gateway.runs.archive import RETRY_SECONDS, RunArchive, open_input
from gateway.runs.conversations import SEALED
from gateway.runs.dispatcher import Dispatcher
from gateway.runs.ledger import Clock, EndHook, Ledger
from gateway.runs.lifecycle import RunState
from gateway.runs.payloads import read, settled
from gateway.runs.rows import ANSWER, QUESTION, Run, RunEvent, last_record, row_of
from gateway.runs.sealing import seal
from gateway.runs.signals import Listener, signals_of
from gateway.runs.submissions import Submission, Submissions
from gateway.runs.watches import LOOK_SECONDS, Watch, Watches
from gateway.service.service import Service
from gateway.studies import run_rows
from gateway.studies.results import StoredResult
from gateway.studies.store import Store

UPKEEP_SECONDS = 60.0
"""Seconds between two looks at runs that are too old."""


class Runs(RunArchive):
    """The runs of the store that several processes share; ``open`` begins to execute them here.

    A caller reads and changes its own runs alone.
    """

    def __init__(self, service: Service, store: Store, *, clock: Clock | None = None) -> None:
        self._service = service
        self._signals = signals_of(store)
        super().__init__(store, Ledger(store, self._signals, clock))
        self._watches = Watches(self._ledger)
        self._listeners: list[Listener] = []
        self._upkeep_at = self._look_at = 0.0
        self._closed = False
        self._dispatcher = Dispatcher(service, self._ledger, self._upkeep)
        self._submissions = Submissions(service, self._ledger)
        self._signals.start(self._signalled)
        service.metrics.runs = self.counts

    def files(self, run: Run, stored: StoredResult, ticket: Ticket) -> list[BinaryIO]:
        """Receive the files of a finished run's request again, as the store has them; no peer is asked.

        Raises StudyNotFound where they are gone, or are not those that the run has read, and as ``receive_body``.
        """
        found = open_input(self._ledger, run)
        if found is None:
            raise RunNotFound("The run was forgotten.")
        words, file = found
        service = self._service
        options = ReceiveOptions(
            service.settings, ticket, Phases(), resolver=service.resolver(run.caller), fetch=lambda _order: None
        )
        with file:
            received = receive_recorded(words["body"], file, options)
        same = received.input_digest == stored.result.input_digest or stored.algorithm != service.settings.digest
        if not same:
            raise StudyNotFound("The study has changed since the run has read it.")
        return received.instances

    def open(self) -> None:
        """Begin to execute queued runs; the first ``submit`` or ``answer`` does so too."""
        self._dispatcher.start()

    def counts(self) -> tuple[dict[str, int], float]:
        """Return the number of runs by state, and the seconds that the oldest queued one has waited."""
        return upkeep.counts(self._ledger)

    def drain(self) -> None:
        """Claim no more runs; those in work continue, and queued ones are left to other workers."""
        self._dispatcher.drain()

    @property
    def busy(self) -> bool:
        """Return True while this process executes a run."""
        return self._dispatcher.busy

    def close(self) -> None:
        """Give the runs in work back, and stop; once is enough. The store is still open."""
        if not self._closed:
            self._closed = True
            self._dispatcher.close()
            self._signals.close()

    def submit(self, submission: Submission, ticket: Ticket) -> tuple[Run, bool]:
        """Read and store the body, and queue the run; True where it is new, False where it was submitted before.

        Raises RunIdRefused, RunConflict for another route or body, RunGone, ParameterRefused for an unknown route,
        TooManyRequests, StudyNotFound, StorageFull, Unavailable, and what the body raises: BrokenBody, BrokenJSON,
        LimitExceeded, RequestStalled, UnsupportedMedia.
        """
        self.open()
        return self._submissions.submit(submission, ticket)

    def cancel(self, caller: str, id: str) -> Run:
        """Cancel a live run: a queued one at once, an executing one when its model stops. Raises RunEnded."""
        run = self.get(caller, id)
        with self._ledger.changing() as changes:
            if changes.move(run.key, lambda status: status.cancel()) is None:
                raise RunEnded("The run has ended; its result stays until it is forgotten.")
            return Run.of(row_of(changes.connection, run.key))

    def forget(self, caller: str, id: str) -> None:
        """Remove an ended run with its payloads. Raises RunNotReady for a live run."""
        run = self.get(caller, id)
        with self._ledger.changing() as changes:
            row = row_of(changes.connection, run.key)
            if row is not None and not RunState(row.state).ended:
                raise RunNotReady("The run has not ended; cancel it first.", retry_after=RETRY_SECONDS)
            run_rows.remove(changes.connection, changes.blobs, [run.key])
            changes.signals[run.key] = "gone"

    def delete(self, caller: str, id: str) -> Run | None:
        """Cancel a live run and return it, or forget an ended one and return None. Raises RunNotFound, RunGone."""
        try:
            return self.cancel(caller, id)
        except RunEnded:
            self.forget(caller, id)
            return None

    def answer(self, caller: str, id: str, json: JSON, question: int | None = None) -> Run:
        """Answer the question of a run: the one that waits, or the one with the number ``question`` alone.

        Raises RunNotWaiting where it waits for no input, or for another answer by now, and ParameterRefused for an
        answer that does not fit the question: the run goes on waiting.
        """
        run = self.get(caller, id)
        self.open()  # a parked run is queued
        asked, public = self._asked(run)
        if question not in (None, asked.sequence):
            raise RunNotWaiting("The run does not wait for an answer to this question.")
        read_reply(asked.data, json)
        words = {SEALED: base64.b64encode(seal(public, json)).decode()} if is_secret(asked.data) else json
        with settled(self._store, words) as payload, self._ledger.changing() as changes:
            latest = last_record(changes.connection, run.key, QUESTION)
            if latest is None or latest.sequence != asked.sequence:
                raise RunNotWaiting("The run asks another question by now.")
            status = changes.move(run.key, lambda status: status.answer())
            if status is None:
                raise RunNotWaiting("The run waits for no input.")
            if status.holder or not is_secret(asked.data):  # a parked run has no key for it: it asks again
                changes.record(run.key, ANSWER, payload)
            return Run.of(row_of(changes.connection, run.key))

    def _asked(self, run: Run) -> tuple[RunEvent, bytes]:
        """Return the question of a run, and the key to seal its answer with. Raises RunNotWaiting."""
        asked = self.question(run)
        if asked is None:
            raise RunNotWaiting("The run waits for no input.")
        with self._ledger.reading() as connection:
            record = last_record(connection, run.key, QUESTION)
        return asked, bytes(read(self._store, record)[1])

    def watch(self, run: Run, wake: Callable[[], None]) -> Watch:
        """Call ``wake`` whenever the run has changed since it was read, or is gone, in any process of the store.

        It is called in a thread that must not wait, at times without news, and perhaps once after ``Watch.close``.
        """
        return self._watches.add(run.key, run.sequence, wake)

    def wait(self, caller: str, id: str, seconds: float) -> Run:
        """Wait until the run has ended or the time is over; return it. Raises RunNotFound, RunGone."""
        run, woken, deadline = self.get(caller, id), threading.Event(), time.monotonic() + seconds
        watch = self.watch(run, woken.set)
        try:
            while not run.state.ended and (left := deadline - time.monotonic()) > 0:
                woken.wait(left)
                woken.clear()
                run = self.get(caller, id)
        finally:
            watch.close()
        return run

    def on_end(self, hook: EndHook) -> None:
        """Call ``hook`` with the connection and the key within each transaction that ends a run in this process."""
        self._ledger.end_hooks.append(hook)

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with key and word of each change in any process of the store; it returns at once."""
        self._listeners.append(listener)

    def _signalled(self, key: str, word: str) -> None:
        for listener in (self._dispatcher.signalled, self._watches.signalled, *self._listeners):
            listener(key, word)

    def _upkeep(self) -> None:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._watches.look()
        if now >= self._upkeep_at:
            self._upkeep_at = now + UPKEEP_SECONDS
            upkeep.expire(self._ledger, self._service.settings.run_ttl)
