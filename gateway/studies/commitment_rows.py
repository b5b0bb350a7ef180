"""Storage commitments in the index: requested by an AE title, due until they are reported, leased for each try."""

import json
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from gateway.studies.tables import commitments

Reference = tuple[str, str]
"""The UIDs of a SOP class and of an instance."""


class CommitmentState(StrEnum):
    """The state of a request; ``abandoned`` is not tried any more."""

    PENDING = "pending"
    REPORTED = "reported"
    ABANDONED = "abandoned"


@dataclass(frozen=True)
class Commitment:
    """A request: the AE title that sent it, its transaction, the caller of the title, and the instances.

    ``tries`` to report it have failed.
    """

    sender: str
    transaction_uid: str
    caller: str
    instances: tuple[Reference, ...]
    tries: int = 0


def request(connection: Connection, commitment: Commitment, now: float) -> None:
    """Record a request; one of the same transaction replaces it, since its answer was lost or is asked for again."""
    same = _same(commitment)
    connection.execute(delete(commitments).where(*same))
    row = {
        "sender": commitment.sender,
        "transaction_uid": commitment.transaction_uid,
        "caller": commitment.caller,
        "instances": json.dumps(commitment.instances),
        "state": CommitmentState.PENDING.value,
        "tries": 0,
        "created_at": now,
        "next_at": now,
    }
    connection.execute(insert(commitments), row)


def is_due(connection: Connection, now: float) -> bool:
    """Return True if one is to be reported now."""
    due = commitments.c.state == CommitmentState.PENDING.value, commitments.c.next_at <= now
    return connection.execute(select(commitments.c.sender).where(*due).limit(1)).first() is not None


def lease(connection: Connection, now: float, until: float) -> Commitment | None:
    """Return one that is due, which no other process then takes before ``until``; None where none is."""
    columns = [commitments.c[name] for name in ("sender", "transaction_uid", "caller", "instances", "tries")]
    due = commitments.c.state == CommitmentState.PENDING.value, commitments.c.next_at <= now
    row = connection.execute(select(*columns).where(*due).order_by(commitments.c.next_at).limit(1)).first()
    if row is None:
        return None
    references = tuple((str(sop_class), str(sop)) for sop_class, sop in json.loads(row.instances))
    found = Commitment(row.sender, row.transaction_uid, row.caller, references, row.tries)
    connection.execute(update(commitments).where(*_same(found)).values(next_at=until))
    return found


def settle(connection: Connection, commitment: Commitment, state: CommitmentState, next_at: float) -> None:
    """Record a try: its state, and when to try again where it is pending still."""
    values = {"state": state.value, "next_at": next_at, "tries": commitment.tries + 1}
    connection.execute(update(commitments).where(*_same(commitment)).values(**values))


def prune(connection: Connection, before: float) -> None:
    """Remove requests from before a moment."""
    connection.execute(delete(commitments).where(commitments.c.created_at < before))


def pending(connection: Connection) -> int:
    """Count the requests that are not reported yet."""
    of_state = commitments.c.state == CommitmentState.PENDING.value
    return connection.execute(select(func.count()).where(of_state)).scalar_one()


def _same(commitment: Commitment) -> tuple[ColumnElement[bool], ...]:
    return (
        commitments.c.sender == commitment.sender,
        commitments.c.transaction_uid == commitment.transaction_uid,
    )
