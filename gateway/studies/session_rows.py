"""Sessions of Backend.AI's API in the index, with their files: added, found and removed.

What they mean is in ``gateway.endpoints.backendai``.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from gateway.studies.blobs import Blobs
from gateway.studies.tables import compute_sessions as sessions
from gateway.studies.tables import request_signatures, session_executions, session_files

EXECUTIONS = 100
"""Executions of a session that are remembered: more than a client follows at once, and the last lines of its log."""


def found(connection: Connection, caller: str, word: str) -> Any:
    """Return the row of a caller's session by its name or id; None where there is none."""
    mine = sessions.c.caller == caller, (sessions.c.name == word) | (sessions.c.id == word)
    rows = connection.execute(select(sessions).where(*mine)).all()
    return next((row for row in rows if row.name == word), rows[0] if rows else None)


def count(connection: Connection, caller: str) -> int:
    """Return how many sessions a caller has."""
    query = select(func.count()).select_from(sessions).where(sessions.c.caller == caller)
    return int(connection.execute(query).scalar_one())


def touch(connection: Connection, id: str, now: float) -> None:
    """Note that a session is used."""
    connection.execute(update(sessions).where(sessions.c.id == id).values(used_at=now))


def remove(connection: Connection, blobs: Blobs, ids: Sequence[str]) -> None:
    """Remove sessions, with their files."""
    _remove_files(connection, blobs, session_files.c.session.in_(ids))
    connection.execute(delete(sessions).where(sessions.c.id.in_(ids)))


def remove_paths(connection: Connection, blobs: Blobs, id: str, paths: Sequence[str]) -> int:
    """Remove some files of a session, and return how many."""
    return _remove_files(connection, blobs, (session_files.c.session == id) & session_files.c.path.in_(paths))


def remove_study(connection: Connection, blobs: Blobs, study: str, caller: str | None) -> int:
    """Remove the files of a study from the sessions of a caller, or everybody's (None); return how many."""
    condition = session_files.c.study_instance_uid == study
    if caller is not None:
        condition &= session_files.c.session.in_(select(sessions.c.id).where(sessions.c.caller == caller))
    return _remove_files(connection, blobs, condition)


def expire(connection: Connection, blobs: Blobs, now: float, ttl: float) -> None:
    """Remove sessions that were not used for ``ttl`` seconds, and signatures whose dates are not accepted any more."""
    old = connection.execute(select(sessions.c.id).where(sessions.c.used_at < now - ttl).limit(EXECUTIONS))
    if ids := old.scalars().all():
        remove(connection, blobs, ids)
    connection.execute(delete(request_signatures).where(request_signatures.c.until < now))


def remember_signature(connection: Connection, digest: str, now: float, until: float) -> bool:
    """Remember a signature until a time; return False for one that is remembered already."""
    known = select(request_signatures.c.digest).where(request_signatures.c.digest == digest)
    if connection.execute(known).first() is not None:
        return False
    connection.execute(delete(request_signatures).where(request_signatures.c.until < now))
    connection.execute(insert(request_signatures).values(digest=digest, until=until))
    return True


def add_execution(connection: Connection, session: str, **columns: Any) -> None:
    """Add an execution to a session, in place of the oldest of as many as are remembered."""
    mine = session_executions.c.session == session
    numbers = select(session_executions.c.number).where(mine).order_by(session_executions.c.number.desc())
    last = connection.execute(numbers.limit(1)).scalar_one_or_none() or 0
    connection.execute(delete(session_executions).where(mine, session_executions.c.number <= last + 1 - EXECUTIONS))
    connection.execute(insert(session_executions).values(session=session, number=last + 1, **columns))


def _remove_files(connection: Connection, blobs: Blobs, condition: ColumnElement[bool]) -> int:
    locations = connection.execute(select(session_files.c.location).where(condition)).scalars().all()
    blobs.remove(*locations, used_too=True)
    connection.execute(delete(session_files).where(condition))
    return len(locations)
