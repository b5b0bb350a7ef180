"""The end of runs by age, and their numbers."""

from sqlalchemy import exists, func, select

from gateway.runs.ledger import Ledger
from gateway.runs.lifecycle import LIVE, RunState, RunStatus
from gateway.studies import run_rows
from gateway.studies.tables import run_records, runs

AT_ONCE = 500
"""Runs that expire in one transaction, which keeps other writers waiting."""
_ENDED = runs.c.state.not_in([*map(str, LIVE)])


def expire(ledger: Ledger, ttl: float) -> None:
    """Remove the payloads of runs that ended ``ttl`` seconds ago; after twice as long, the runs altogether.

    A run that nothing has executed for as long is cancelled: its model may not exist any more. So is one whose
    question nobody has answered for as long.
    """
    with ledger.reading() as connection:
        now = ledger.now(connection)
        old, older = runs.c.ended_at < now - ttl, runs.c.ended_at < now - 2 * ttl
        stale = (runs.c.state == RunState.QUEUED.value) & (runs.c.created_at < now - ttl)
        recent = exists().where(run_records.c.key == runs.c.key, run_records.c.at >= now - ttl)
        stale |= (runs.c.state == RunState.WAITING.value) & (runs.c.created_at < now - ttl) & ~recent
        conditions = stale, old & _ENDED & ~runs.c.expired, older & runs.c.expired
        queued, ended, gone = (
            connection.execute(select(runs.c.key).where(condition).limit(AT_ONCE)).scalars().all()
            for condition in conditions
        )
    if queued or ended or gone:
        with ledger.changing() as changes:
            for key in queued:
                changes.move(key, RunStatus.cancel)
            run_rows.expire(changes.connection, changes.blobs, ended)
            run_rows.remove(changes.connection, changes.blobs, gone)
            changes.signals.update(dict.fromkeys([*ended, *gone], "gone"))


def counts(ledger: Ledger) -> tuple[dict[str, int], float]:
    """Return the number of runs by state, and the seconds that the oldest queued one has waited."""
    with ledger.reading() as connection:
        query = select(runs.c.state, func.count()).where(~runs.c.expired).group_by(runs.c.state)
        numbers = dict.fromkeys(map(str, RunState), 0) | {
            state: int(count) for state, count in connection.execute(query)
        }
        queued = runs.c.state == RunState.QUEUED.value
        oldest = connection.execute(select(func.min(runs.c.created_at)).where(queued)).scalar_one()
        return numbers, 0.0 if oldest is None else max(0.0, ledger.now(connection) - oldest)
