"""Routings in the index: what one rule does with one round, from its match to the results that were stored.

::

    pending ── submit ──> running ── finished ──> done
      ^  ^                  │ ├───── refused ───> refused
      │  └─── failed, with tries left
      │                     ├───── failed ──────> failed
      │                     └───── cancelled ───> cancelled
      └── retry, by a person, from the last three
"""

import hashlib
import json
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, exists, func, insert, select, update

from gateway.studies.instance_rows import pieces
from gateway.studies.row_leases import RowLeases
from gateway.studies.tables import own_results, routings


class RoutingState(StrEnum):
    """The state of a routing. ``refused`` is the model's word on the study, no error; ``failed`` waits for a person."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


LIVE_ROUTINGS = (RoutingState.PENDING, RoutingState.RUNNING)
REPEATABLE = (RoutingState.REFUSED, RoutingState.FAILED, RoutingState.CANCELLED)
"""The states from which a person may have a rule try again."""


@dataclass(frozen=True, kw_only=True)
class Routing:
    """One rule's handling of one round. Times are seconds since 1970.

    ``caller`` owns the run, whose id is ``run``, and its results; ``digests`` are the sha256 of the instances that the
    model receives, in order. ``tries`` counts the runs, ``results`` the objects that were stored. ``sentence`` is why
    it was refused, has failed or waits, "" otherwise.
    """

    id: str
    round: str
    caller: str
    rule: str
    content: str
    digests: tuple[str, ...]
    state: RoutingState
    run: str
    run_key: str
    sentence: str
    tries: int
    results: int
    created_at: float
    ended_at: float | None
    due_at: float


_LIVE = routings.c.state.in_([*map(str, LIVE_ROUTINGS)])
LEASES = RowLeases(routings, _LIVE)


def content_of(digests: Iterable[str]) -> str:
    """Return the digest of a set of instances: of the sorted sha256 of each, one a line."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def known(connection: Connection, caller: str, rule: str, content: str) -> bool:
    """Return True where a rule has taken the same instances for a caller before."""
    same = routings.c.caller == caller, routings.c.rule == rule, routings.c.content == content
    return connection.execute(select(routings.c.id).where(*same)).first() is not None


def add(connection: Connection, round: str, caller: str, rule: str, digests: Sequence[str], now: float) -> None:
    """Add the routing of a round by a rule, due at once, with the instances in the order for the model."""
    row = {
        "id": secrets.token_hex(16),
        "round": round,
        "caller": caller,
        "rule": rule,
        "content": content_of(digests),
        "digests": json.dumps(list(digests)),
        "state": RoutingState.PENDING.value,
        "run": "",
        "run_key": "",
        "sentence": "",
        "tries": 0,
        "results": 0,
        "created_at": now,
        "due_at": now,
        "holder": "",
    }
    connection.execute(insert(routings), row)


def claim(connection: Connection, holder: str, now: float, lease: float) -> Routing | None:
    """Take the routing that is due longest, for ``lease`` seconds; None where none is due."""
    row = LEASES.claim(connection, holder, now, lease)
    return None if row is None else _routing(row)


def settle(connection: Connection, id: str, holder: str, due_at: float, **columns: Any) -> bool:
    """Give a claimed routing back with new values; False where another process has it by now, or it was forgotten."""
    values = {"holder": "", "due_at": due_at, **columns}
    return connection.execute(update(routings).where(LEASES.mine(id, holder)).values(values)).rowcount == 1


def run_ended(connection: Connection, run_key: str, now: float) -> None:
    """Make the routing of a run due; one that is claimed now is looked at again by its holder."""
    mine = routings.c.run_key == run_key, routings.c.state == RoutingState.RUNNING.value, routings.c.holder == ""
    connection.execute(update(routings).where(*mine).values(due_at=now))


def run_awaits(key: ColumnElement[str]) -> ColumnElement[bool]:
    """Return a condition: the results of a run are to be stored by its rule, and stay until then."""
    return exists().where(_LIVE, routings.c.run_key == key)


def retry(connection: Connection, ids: Collection[str] | None, now: float) -> int:
    """Have rules try once more, by a new run: the routings with these ids, or all that have failed (None).

    Return how many. One that was refused or cancelled is tried again where its id is among them.
    """
    states = (RoutingState.FAILED,) if ids is None else REPEATABLE
    chosen = [routings.c.state.in_([*map(str, states)])] + ([] if ids is None else [routings.c.id.in_(ids)])
    values = {"state": RoutingState.PENDING.value, "due_at": now, "ended_at": None, "holder": ""}
    return connection.execute(update(routings).where(*chosen).values(values)).rowcount


def of_rounds(connection: Connection, rounds: Iterable[str]) -> list[Routing]:
    """Return the routings of rounds, by their rules."""
    query = select(routings).order_by(routings.c.rule)
    chunks = pieces(rounds)
    return [_routing(row) for some in chunks for row in connection.execute(query.where(routings.c.round.in_(some)))]


@dataclass(frozen=True, kw_only=True)
class RoutingCounts:
    """The numbers of routings by state, and when the oldest live one was made; None where none is live."""

    states: dict[str, int]
    oldest: float | None


def counts(connection: Connection) -> RoutingCounts:
    """Count the routings."""
    query = select(routings.c.state, func.count()).group_by(routings.c.state)
    numbers = dict.fromkeys(map(str, RoutingState), 0)
    numbers |= {state: int(count) for state, count in connection.execute(query)}
    oldest = connection.execute(select(func.min(routings.c.created_at)).where(_LIVE)).scalar_one()
    return RoutingCounts(states=numbers, oldest=oldest)


def uid_digest(sop_instance_uid: str) -> str:
    """Return the digest by which the index knows an object that a rule has sent out."""
    return hashlib.sha256(sop_instance_uid.encode()).hexdigest()


def note_own(connection: Connection, sop_instance_uids: Iterable[str], now: float) -> None:
    """Note the SOP Instance UIDs of objects that a rule sends out."""
    digests = [uid_digest(uid) for uid in sop_instance_uids]
    for some in pieces(digests):
        connection.execute(delete(own_results).where(own_results.c.digest.in_(some)))
    if digests:
        connection.execute(
            insert(own_results), [{"digest": digest, "made_at": now} for digest in dict.fromkeys(digests)]
        )


_OWN = select(own_results.c.digest).where(own_results.c.digest.in_(bindparam("digests", expanding=True)))
"""Made once, since it is asked for each instance that arrives."""


def own(connection: Connection, sop_instance_uids: Iterable[str]) -> set[str]:
    """Return those of SOP Instance UIDs that are of objects which rules have sent out."""
    uids = {uid_digest(uid): uid for uid in sop_instance_uids}
    parameters = ({"digests": some} for some in pieces(uids))
    return {uids[digest] for each in parameters for digest in connection.execute(_OWN, each).scalars()}


def _routing(row: Any) -> Routing:
    values = {name: getattr(row, name) for name in Routing.__dataclass_fields__}
    return Routing(**values | {"state": RoutingState(row.state), "digests": tuple(json.loads(row.digests))})
