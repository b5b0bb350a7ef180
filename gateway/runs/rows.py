"""A run and its events as they are read from the index."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from sqlalchemy import Connection, select

from gateway.runs.lifecycle import RunState, RunStatus
from gateway.studies.tables import run_records, runs

INPUT, RESULT, PROBLEM, ANSWER = "input", "result", "problem", "answer"
STATE, PROGRESS, LOG, PREVIEW, QUESTION, PARTIAL = EVENT_KINDS = (
    *("state", "progress", "log"),
    *("preview", "question", "partial"),
)
"""The kinds of events that a caller sees."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run at one moment. ``key`` names it in tables and signals, ``sequence`` is that of its last event.

    Times are seconds since 1970. ``status`` and ``reason`` are those of the problem of a refused or failed run, else 0
    and "".
    """

    id: str
    caller: str
    route: str
    state: RunState
    key: str
    sequence: int
    attempts: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    status: int
    reason: str
    expired: bool
    body_digest: str

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the run of a row."""
        values = {each.name: getattr(row, each.name) for each in fields(cls)}
        return cls(**values | {"state": RunState(row.state)})


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """An event of a run: JSON under a sequence number, which grows within the run and has gaps."""

    sequence: int
    kind: str
    at: float
    data: dict[str, Any]


STATUS_COLUMNS = tuple(each.name for each in fields(RunStatus))


def key_of(caller: str, id: str) -> str:
    """Return the key of a caller's run."""
    return hashlib.sha256(json.dumps([caller, id]).encode()).hexdigest()


def status_of(row: Any) -> RunStatus:
    """Return the status in a row of ``runs``."""
    values = {name: getattr(row, name) for name in STATUS_COLUMNS}
    return RunStatus(**values | {"state": RunState(row.state)})


def columns_of(status: RunStatus) -> dict[str, Any]:
    """Return the columns of a status."""
    return asdict(status) | {"state": status.state.value}


def row_of(connection: Connection, key: str) -> Any:
    """Return the row of a run; None where there is no such run."""
    return connection.execute(select(runs).where(runs.c.key == key)).one_or_none()


def last_record(connection: Connection, key: str, kind: str) -> Any:
    """Return the newest record of one kind; None where there is no such record."""
    query = select(run_records).where(run_records.c.key == key, run_records.c.kind == kind)
    return connection.execute(query.order_by(run_records.c.sequence.desc()).limit(1)).one_or_none()
