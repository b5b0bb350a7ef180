"""The runs in the index, read and changed; each change is signalled once it is committed."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, insert, update

from gateway.errors import GatewayError
from gateway.runs.lifecycle import RunState, RunStatus
from gateway.runs.payloads import KIND, Payload
from gateway.runs.rows import PROBLEM, STATE, columns_of, row_of, status_of
from gateway.runs.signals import Signals
from gateway.studies import run_rows
from gateway.studies.index_clock import database_time
from gateway.studies.store import Store
from gateway.studies.tables import run_records, run_studies, runs

Clock = Callable[[], float]
CANCELLING = "cancelling"
"""The word of a signal that an executing run should stop."""
EndHook = Callable[[Connection, str], None]
"""Receives the key of a run within the transaction that ends it."""
Move = Callable[[RunStatus], RunStatus | None]
"""A move of ``RunStatus``, with its other arguments filled in."""


class Changes:
    """Changes of runs within one transaction of the only writer. ``now`` is its time, in seconds since 1970."""

    def __init__(self, connection: Connection, store: Store, now: float) -> None:
        self.connection, self.now = connection, now
        self.blobs, self._retention = store.blobs[KIND], store.retention
        self.signals: dict[str, str] = {}
        """Keys of changed runs, with the word of the change."""
        self.ended: list[str] = []
        """Keys of runs that end with this transaction."""

    def add(self, key: str, **columns: Any) -> None:
        """Add a queued run without records."""
        values = columns_of(RunStatus()) | {"created_at": self.now, "sequence": 0}
        rest = {"status": 0, "reason": "", "expired": False}
        self.connection.execute(insert(runs).values(key=key, **values, **rest, **columns))

    def record(self, key: str, kind: str, payload: Payload | None = None, state: str = "") -> int:
        """Add a record to a run, under the next sequence number, and return that."""
        query = update(runs).where(runs.c.key == key).values(sequence=runs.c.sequence + 1).returning(runs.c.sequence)
        sequence = self.connection.execute(query).scalar_one()
        stored = payload.place() if payload else {"location": "", "sha256": "", "size": 0}
        row = {"key": key, "sequence": sequence, "kind": kind, "at": self.now, "state": state}
        self.connection.execute(insert(run_records).values(row | stored))
        self.signals.setdefault(key, kind)
        return int(sequence)

    def move(self, key: str, move: Move, **columns: Any) -> RunStatus | None:
        """Make a move and record its state; None, and nothing changed, where it is not allowed or the run is gone."""
        row = row_of(self.connection, key)
        status = move(status_of(row)) if row is not None and not row.expired else None
        if status is None:
            return None
        if status.state.ended:
            columns = {"ended_at": self.now} | columns
        elif status.state is RunState.RUNNING and row.started_at is None:
            columns = {"started_at": self.now} | columns
        self.connection.execute(update(runs).where(runs.c.key == key).values(columns_of(status) | columns))
        if status.state.value != row.state:
            self.record(key, STATE, state=status.state.value)
        self.signals[key] = CANCELLING if status.cancelling and not status.state.ended else status.state.value
        self.ended += [key] if status.state.ended else []
        return status

    def explain(self, key: str, problem: Payload | None, error: GatewayError) -> None:
        """Record why a run was refused or failed; without a ``problem``, its code alone."""
        self.connection.execute(update(runs).where(runs.c.key == key).values(status=error.status, reason=error.code))
        if problem is not None:
            self.record(key, PROBLEM, problem)

    def make_room(self, caller: str, size: int, spare: Collection[str] = ()) -> None:
        """Make room for a payload of a caller's, but for its studies to ``spare``. Raises StorageFull."""
        self._retention.make_room(self.connection, caller, size, lambda: spare)

    def replace(self, key: str, kind: str, payload: Payload) -> None:
        """Add a record in place of the former ones of its kind."""
        run_rows.remove_payloads(self.connection, self.blobs, key, kind)
        self.record(key, kind, payload)

    def clear(self, key: str, record: Any) -> None:
        """Remove the payload of a record, which stays."""
        self.blobs.remove(record.location, used_too=True)
        one = run_records.c.key == key, run_records.c.sequence == record.sequence
        self.connection.execute(update(run_records).where(*one).values(location="", sha256="", size=0))

    def note_studies(self, key: str, studies: set[str]) -> None:
        """Note the Study Instance UIDs that a run has read or was sent; each once."""
        known = set(self.connection.execute(run_studies.select().where(run_studies.c.key == key)).all())
        rows = [{"key": key, "study_instance_uid": study} for study in sorted(studies) if (key, study) not in known]
        if rows:
            self.connection.execute(insert(run_studies), rows)


class Ledger:
    """The runs in the index of one store."""

    def __init__(self, store: Store, signals: Signals, clock: Clock | None = None) -> None:
        """``clock`` in seconds since 1970; by default the database's own where servers share one, else this host's."""
        self.store, self.signals = store, signals
        self.end_hooks: list[EndHook] = []
        self._clock = clock

    def now(self, connection: Connection) -> float:
        """Return the time by which leases end."""
        if self._clock is not None:
            return self._clock()
        return self.store.index.now() if self.store.index.is_sqlite else database_time(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state. Raises Unavailable."""
        with self.store.index.reading() as connection:
            yield connection

    @contextmanager
    def changing(self) -> Iterator[Changes]:
        """A transaction of the only writer, undone where the block raises. Raises StorageFull, Unavailable."""
        with self.store.index.writing() as connection:
            changes = Changes(connection, self.store, self.now(connection))
            yield changes
            for key in changes.ended:
                for hook in self.end_hooks:
                    hook(connection, key)
            self.signals.announce(connection, changes.signals)
        self.signals.announced(changes.signals)
