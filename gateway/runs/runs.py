"""The runs of one process: submitted, read, waited for, cancelled and forgotten; executed by its dispatcher."""

import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select

from gateway.contract.requests import BinaryPart, Result
from gateway.errors import GatewayError, RunCancelled, RunGone, RunNotFound, RunNotReady, from_words, to_words
from gateway.intake.admission import Ticket
from gateway.runs import upkeep
from gateway.runs.dispatcher import Dispatcher
from gateway.runs.ledger import Clock, EndHook, Ledger
from gateway.runs.lifecycle import RunState
from gateway.runs.payloads import opened, words_of
from gateway.runs.rows import EVENT_KINDS, PROBLEM, PROGRESS, RESULT, Run, RunEvent, key_of, last_record, row_of
from gateway.runs.signals import Listener, PostgresSignals, Signals, SocketSignals
from gateway.runs.submissions import Submission, Submissions
from gateway.runs.watches import LOOK_SECONDS, Watch, Watches
from gateway.service.service import Service
from gateway.studies import run_rows
from gateway.studies.blobs import Spoiled
from gateway.studies.results import StoredResult
from gateway.studies.store import Store
from gateway.studies.tables import run_records, runs

UPKEEP_SECONDS = 60.0
"""Seconds between two looks at runs that are too old."""
LOST: dict[str, Any] = {"error": to_words(GatewayError("The stored problem of this run has changed on the disk."))}
"""What stands for a problem whose file cannot be read."""
RETRY_SECONDS = 2
"""When the result of a live run may be asked for again."""


class Runs:
    """The runs of the store that several processes share; ``open`` begins to execute them here.

    A caller reads and changes its own runs alone.
    """

    def __init__(self, service: Service, store: Store, *, clock: Clock | None = None) -> None:
        self._service, self._store = service, store
        self._signals = _signals(store)
        self._ledger = Ledger(store, self._signals, clock)
        self._watches = Watches(self._ledger)
        self._listeners: list[Listener] = []
        self._upkeep_at = self._look_at = 0.0
        self._closed = False
        self._dispatcher = Dispatcher(service, self._ledger, self._upkeep)
        self._submissions = Submissions(service, self._ledger)
        self._signals.start(self._signalled)
        service.metrics.runs = self.counts

    def open(self) -> None:
        """Begin to execute queued runs; the first ``submit`` does so too."""
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

    def get(self, caller: str, id: str) -> Run:
        """Return a caller's run as it is now. Raises RunNotFound, RunGone, Unavailable."""
        with self._ledger.reading() as connection:
            row = row_of(connection, key_of(caller, id))
        if row is None:
            raise RunNotFound("No run of this id is stored for this caller.")
        if row.expired:
            raise RunGone("The run has expired, with its input and its result.")
        return Run.of(row)

    def ahead(self, run: Run) -> int:
        """Return how many queued runs of the route are older."""
        older = runs.c.created_at < run.created_at, runs.c.route == run.route, runs.c.state == RunState.QUEUED.value
        with self._ledger.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(runs).where(*older)).scalar_one())

    def page(
        self, caller: str, *, state: str = "", route: str = "", since: float = 0.0, limit: int = 100, after: str = ""
    ) -> list[Run]:
        """Return a caller's runs from the time ``since`` on, the newest first, behind the one with the id ``after``."""
        mine = [runs.c.caller == caller, ~runs.c.expired, runs.c.created_at >= since]
        mine += [runs.c.state == state] if state else []
        mine += [runs.c.route == route] if route else []
        with self._ledger.reading() as connection:
            last = row_of(connection, key_of(caller, after)) if after else None
            if last is not None:
                earlier = runs.c.created_at < last.created_at
                mine.append(earlier | ((runs.c.created_at == last.created_at) & (runs.c.key < last.key)))
            query = select(runs).where(*mine).order_by(runs.c.created_at.desc(), runs.c.key.desc()).limit(limit)
            return [Run.of(row) for row in connection.execute(query)]

    def events(self, run: Run, after: int = 0, limit: int = 100) -> list[RunEvent]:
        """Return the events of a run with sequence numbers above ``after``, in order. Raises Unavailable."""
        records = run_records.c.key == run.key, run_records.c.sequence > after, run_records.c.kind.in_(EVENT_KINDS)
        with self._ledger.reading() as connection:
            query = select(run_records).where(*records).order_by(run_records.c.sequence).limit(limit)
            rows = connection.execute(query).all()
        events = []
        for row in rows:
            try:
                data = words_of(self._store, row) if row.location else {"state": row.state}
            except Spoiled:  # a newer progress has replaced it since
                continue
            events.append(RunEvent(sequence=row.sequence, kind=row.kind, at=row.at, data=data))
        return events

    def progress(self, run: Run) -> dict[str, Any] | None:
        """Return the newest progress: ``done``, ``total`` and ``text``; None without one."""
        return self._words(run, PROGRESS)

    def problem(self, run: Run) -> dict[str, Any]:
        """Return the problem of a refused or failed run, in the words of a request's; {} of another."""
        words = self._words(run, PROBLEM)
        return {} if words is None else dict(words["problem"])

    def result(self, caller: str, id: str) -> StoredResult:
        """Return the answer of a finished run. Raises RunNotReady for a live run, RunCancelled, RunNotFound, RunGone,
        and the error of one that was refused or failed."""
        run = self.get(caller, id)
        if not run.state.ended:
            raise RunNotReady("The run has no result yet.", retry_after=RETRY_SECONDS)
        if run.state is RunState.CANCELLED:
            raise RunCancelled("The run was cancelled and has no result.")
        if run.state is not RunState.FINISHED:
            raise from_words((self._words(run, PROBLEM) or LOST)["error"])
        return self._result(run)

    def _result(self, run: Run) -> StoredResult:
        with self._ledger.reading() as connection:
            record = last_record(connection, run.key, RESULT)
        if record is None:
            raise RunNotFound("The run was forgotten.")
        try:
            words, file = opened(self._store, record)
        except Spoiled:
            raise RunGone("The stored result has changed on the disk; submit the run again under another id.") from None
        with file:
            body, parts, start = memoryview(file.read()), list[BinaryPart](), 0
        for media_type, size in words["parts"]:
            parts.append(BinaryPart(media_type, body[start : start + size]))
            start += size
        result = Result(bytes(parts[0].data), parts[1:], words["input_digest"], words["seconds"])
        age = max(0, int(time.time() - (run.ended_at or 0)))
        return StoredResult(run.id, result, words["output_digest"], age, words["algorithm"])

    def delete(self, caller: str, id: str) -> Run | None:
        """Cancel a live run and return it, or forget an ended one and return None. Raises RunNotFound, RunGone."""
        run = self.get(caller, id)
        with self._ledger.changing() as changes:
            if not run.state.ended and changes.move(run.key, lambda status: status.cancel()) is not None:
                return Run.of(row_of(changes.connection, run.key))
            run_rows.remove(changes.connection, changes.blobs, [run.key])
            changes.signals[run.key] = "gone"
        return None

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

    def _words(self, run: Run, kind: str) -> dict[str, Any] | None:
        with self._ledger.reading() as connection:
            record = last_record(connection, run.key, kind)
        try:
            return None if record is None else words_of(self._store, record)
        except Spoiled:
            return None

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


def _signals(store: Store) -> Signals:
    return SocketSignals(store.folder) if store.index.is_sqlite else PostgresSignals(store.index.driver_connection)
