"""Sessions in the store: each a name of a caller for a model, until it is destroyed or unused for too long."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Self
from uuid import uuid4

from sqlalchemy import Connection, insert, select, update

from gateway.errors import ComputeSessionConflict, ComputeSessionNotFound, TooManyRequests
from gateway.studies import session_rows
from gateway.studies.store import Store
from gateway.studies.tables import compute_sessions, session_executions

MAX_SESSIONS = 1_000
"""Sessions of one caller: `backend.ai run` leaves one behind each time, for a day."""
BUSY_SECONDS = 60


@dataclass(frozen=True)
class ComputeSession:
    """A session; ``image`` is the name that its client gave the model, times are seconds since 1970."""

    id: str
    caller: str
    name: str
    route: str
    image: str
    created_at: float
    used_at: float

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the session of a row."""
        return cls(**{each.name: getattr(row, each.name) for each in fields(cls)})


class ComputeSessions:
    """The sessions of one store."""

    def __init__(self, store: Store) -> None:
        self._store, self._blobs = store, store.blobs["sessions"]

    def get(self, caller: str, word: str) -> ComputeSession:
        """Return a caller's session by its name or id. Raises ComputeSessionNotFound."""
        with self._store.index.reading() as connection:
            return _found(connection, caller, word)

    def create(self, caller: str, name: str, route: str, image: str, *, reuse: bool) -> tuple[ComputeSession, bool]:
        """Return a session and True for a new one. Raises ComputeSessionConflict, TooManyRequests."""
        now = self._store.clock()
        with self._store.index.writing() as connection:
            row = session_rows.found(connection, caller, name)
            if row is not None and row.name == name:
                if not reuse or row.route != route:
                    raise ComputeSessionConflict("A session of this name exists; destroy it, or take another name.")
                session_rows.touch(connection, row.id, now)
                return ComputeSession.of(row), False
            if session_rows.count(connection, caller) >= MAX_SESSIONS:
                detail = f"The caller has {MAX_SESSIONS} sessions; destroy some."
                raise TooManyRequests(detail, retry_after=BUSY_SECONDS)
            session = ComputeSession(str(uuid4()), caller, name, route, image, now, now)
            connection.execute(insert(compute_sessions).values(vars(session)))
            return session, True

    def rename(self, session: ComputeSession, name: str) -> None:
        """Give a session another name. Raises ComputeSessionConflict for that of another session."""
        with self._using(session) as connection:
            row = session_rows.found(connection, session.caller, name)
            if row is not None and row.id != session.id:
                raise ComputeSessionConflict("Another session has this name.")
            connection.execute(update(compute_sessions).where(compute_sessions.c.id == session.id).values(name=name))

    def destroy(self, session: ComputeSession) -> None:
        """Remove a session with its files."""
        with self._store.index.writing() as connection:
            session_rows.remove(connection, self._blobs, [session.id])

    def remember(self, digest: str, until: float) -> bool:
        """Remember the signature of a request; return False for one that was used before, in any process."""
        with self._store.index.writing() as connection:
            return session_rows.remember_signature(connection, digest, self._store.clock(), until)

    def add_execution(self, session: ComputeSession, id: str, stage: str, options: str) -> None:
        """Add an execution; one of the same id is replaced."""
        with self._using(session) as connection:
            mine = _execution(session, id)
            connection.execute(session_executions.delete().where(*mine))
            session_rows.add_execution(
                connection,
                session.id,
                id=id,
                stage=stage,
                options=options,
                run="",
                after=0,
                created_at=self._store.clock(),
            )

    def execution(self, session: ComputeSession, id: str) -> Any:
        """Return the row of an execution, the last one for an ``id`` of ""; None without one."""
        mine = _execution(session, id) if id else (session_executions.c.session == session.id,)
        query = select(session_executions).where(*mine).order_by(session_executions.c.number.desc()).limit(1)
        with self._store.index.reading() as connection:
            return connection.execute(query).one_or_none()

    def executions(self, session: ComputeSession) -> list[Any]:
        """Return the rows of a session's executions that have a run, in order."""
        mine = session_executions.c.session == session.id, session_executions.c.run != ""
        with self._store.index.reading() as connection:
            query = select(session_executions).where(*mine).order_by(session_executions.c.number)
            return list(connection.execute(query))

    def forget_executions(self, session: ComputeSession, ids: list[str]) -> None:
        """Forget executions, with their results in the session."""
        with self._using(session) as connection:
            mine = session_executions.c.session == session.id, session_executions.c.id.in_(ids)
            connection.execute(session_executions.delete().where(*mine))

    def advance(self, session: ComputeSession, row: Any, **columns: Any) -> bool:
        """Change an execution, unless another request has moved it on since it was read; return whether it did."""
        since = session_executions.c.stage == row.stage, session_executions.c.after == row.after
        with self._using(session) as connection:
            mine = *_execution(session, row.id), session_executions.c.number == row.number, *since
            return connection.execute(update(session_executions).where(*mine).values(**columns)).rowcount == 1

    @contextmanager
    def _using(self, session: ComputeSession) -> Iterator[Connection]:
        """A transaction that changes a session. Raises ComputeSessionNotFound for one that was destroyed."""
        with self._store.index.writing() as connection:
            _found(connection, session.caller, session.id)
            session_rows.touch(connection, session.id, self._store.clock())
            yield connection


def _found(connection: Connection, caller: str, word: str) -> ComputeSession:
    row = session_rows.found(connection, caller, word)
    if row is None:
        raise ComputeSessionNotFound("No session of this name or id is stored for this caller.")
    return ComputeSession.of(row)


def _execution(session: ComputeSession, id: str) -> tuple[Any, ...]:
    return session_executions.c.session == session.id, session_executions.c.id == id
