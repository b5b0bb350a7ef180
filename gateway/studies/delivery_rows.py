"""Deliveries in the index: stored instances on their way to a peer, queued once, leased to one process for each try.

A delivery is pending until each of its instances is delivered or dead. A dead one is not tried any more, until a person
revives it.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, delete, exists, func, insert, select, update

from gateway.studies.instance_rows import pieces
from gateway.studies.tables import deliveries, delivery_instances

UNAVAILABLE = "unavailable"
"""The outcome of a try whose destination did not answer at all: it is repeated once the destination answers again."""


class DeliveryState(StrEnum):
    """The state of a delivery, of one of its instances, and of a webhook; ``dead`` is not tried any more."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Instances of a study for one destination, the name of a peer. ``run_key`` is "" where no run made them.

    ``outcome`` is that of the last try, "" before it. Times are seconds since 1970; ``ended_at`` is None while it is
    pending.
    """

    id: str
    caller: str
    run_key: str
    study_instance_uid: str
    destination: str
    state: DeliveryState
    tries: int
    queued_at: float
    next_at: float
    ended_at: float | None
    outcome: str


@dataclass(frozen=True, slots=True)
class DeliveryInstance:
    """An instance of a delivery; ``outcome`` is that of its last try, "" before it."""

    sop_instance_uid: str
    sha256: str
    state: DeliveryState
    outcome: str


InstanceOutcomes = Mapping[str, tuple[DeliveryState, str]]
"""State and outcome of instances by SOP Instance UID, as one try found them."""

_COLUMNS = [deliveries.c[name] for name in Delivery.__dataclass_fields__]
_PENDING = deliveries.c.state == DeliveryState.PENDING.value
_INSTANCE_PENDING = delivery_instances.c.state == DeliveryState.PENDING.value


def queue(
    connection: Connection,
    *,
    caller: str,
    destination: str,
    study: str,
    instances: Iterable[tuple[str, str]],
    now: float,
    run_key: str = "",
) -> str:
    """Queue stored instances, pairs of SOP Instance UID and sha256, for a destination; return the delivery's id.

    The same instances of the same run are queued once: a repeated call changes nothing, whatever the state.
    """
    chosen = sorted(set(instances))
    identity = json.dumps([caller, destination, study, run_key, chosen])
    id = f"dlv_{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    if connection.execute(select(deliveries.c.id).where(deliveries.c.id == id)).first() is not None:
        return id
    row: dict[str, Any] = {"id": id, "caller": caller, "run_key": run_key, "study_instance_uid": study}
    row |= {"destination": destination, "state": DeliveryState.PENDING.value, "tries": 0, "leased": False}
    row |= {"queued_at": now, "next_at": now, "ended_at": None, "outcome": ""}
    connection.execute(insert(deliveries), row)
    rows = [
        {"delivery": id, "sop_instance_uid": uid, "sha256": sha256, "state": "pending", "outcome": ""}
        for uid, sha256 in chosen
    ]
    if rows:
        connection.execute(insert(delivery_instances), rows)
    return id


def claim(connection: Connection, now: float, lease: float, busy: Collection[str]) -> Delivery | None:
    """Take the delivery that is due longest, for ``lease`` seconds; None where there is none but to ``busy`` ones.

    The try counts from here: one that ends the process must not be repeated for ever.
    """
    free = deliveries.c.destination.not_in(busy)
    query = select(*_COLUMNS).where(_PENDING, free, deliveries.c.next_at <= now)
    row = connection.execute(query.order_by(deliveries.c.next_at, deliveries.c.queued_at).limit(1)).one_or_none()
    if row is None:
        return None
    found = _delivery(row)
    taken = {"tries": found.tries + 1, "next_at": now + lease}
    connection.execute(update(deliveries).where(deliveries.c.id == found.id).values(taken | {"leased": True}))
    return _delivery(row, **taken)


def renew(connection: Connection, delivery: Delivery, ends: float, until: float) -> bool:
    """Prolong the lease that ends at ``ends``; False where its try has an outcome by now, or another was begun."""
    mine = *_mine(delivery), deliveries.c.next_at == ends
    return connection.execute(update(deliveries).where(*mine).values(next_at=until)).rowcount == 1


def record(connection: Connection, delivery: Delivery, outcomes: InstanceOutcomes) -> bool:
    """Record what became of some instances by a try that goes on; False where its lease is another's."""
    if connection.execute(select(deliveries.c.id).where(*_mine(delivery))).first() is None:
        return False
    for uid, (state, outcome) in outcomes.items():
        same = delivery_instances.c.delivery == delivery.id, delivery_instances.c.sop_instance_uid == uid
        values = {"state": state.value, "outcome": outcome}
        connection.execute(update(delivery_instances).where(*same, _INSTANCE_PENDING).values(values))
    return True


def settle(
    connection: Connection, delivery: Delivery, outcome: str, now: float, next_at: float | None
) -> DeliveryState | None:
    """End a try: what is pending of the delivery is repeated at ``next_at``, or has had its last try (None).

    The delivery has ended where nothing is pending: it is delivered where all is, else dead. Return its state; None,
    and nothing changes, where its lease ended and another process has begun a try since.
    """
    states = {each.state for each in instances_of(connection, delivery.id)}
    values: dict[str, Any] = {"outcome": outcome, "leased": False}
    if DeliveryState.PENDING in states and next_at is not None:
        state = DeliveryState.PENDING
        values |= {"next_at": next_at}
    else:
        state = DeliveryState.DELIVERED if states <= {DeliveryState.DELIVERED} else DeliveryState.DEAD
        values |= {"state": state.value, "ended_at": now}
    if not connection.execute(update(deliveries).where(*_mine(delivery)).values(values)).rowcount:
        return None
    if state is DeliveryState.DEAD:
        left = delivery_instances.c.delivery == delivery.id, _INSTANCE_PENDING
        connection.execute(update(delivery_instances).where(*left).values(state=state.value))
    return state


def give_back(connection: Connection, delivery: Delivery, now: float) -> None:
    """Undo a claim whose try did not take place, such as at the end of a process: it is due, and counts no try."""
    values = {"tries": delivery.tries - 1, "next_at": now, "leased": False}
    connection.execute(update(deliveries).where(*_mine(delivery)).values(values))


def hasten(connection: Connection, destination: str, now: float) -> int:
    """Make due what waits for a destination that did not answer, since it answers again; return how many."""
    waiting = deliveries.c.destination == destination, deliveries.c.leased.is_(False)
    later = deliveries.c.outcome == UNAVAILABLE, deliveries.c.next_at > now
    return connection.execute(update(deliveries).where(_PENDING, *waiting, *later).values(next_at=now)).rowcount


def revive(connection: Connection, ids: Collection[str] | None, now: float) -> int:
    """Make dead deliveries due again, with all their tries: those with these ids, or all (None). Return how many.

    What of them is delivered stays so.
    """
    dead = deliveries.c.state == DeliveryState.DEAD.value
    query = select(deliveries.c.id).where(dead if ids is None else dead & deliveries.c.id.in_(ids))
    found = list(connection.execute(query).scalars())
    for some in pieces(found):
        values = {"state": DeliveryState.PENDING.value, "tries": 0, "next_at": now, "ended_at": None, "leased": False}
        connection.execute(update(deliveries).where(deliveries.c.id.in_(some)).values(values))
        left = delivery_instances.c.delivery.in_(some), delivery_instances.c.state == DeliveryState.DEAD.value
        connection.execute(update(delivery_instances).where(*left).values(state=DeliveryState.PENDING.value))
    return len(found)


def instances_of(connection: Connection, id: str) -> list[DeliveryInstance]:
    """Return the instances of a delivery, by their UIDs."""
    columns = [delivery_instances.c[name] for name in DeliveryInstance.__slots__]
    query = select(*columns).where(delivery_instances.c.delivery == id)
    rows = connection.execute(query.order_by(delivery_instances.c.sop_instance_uid))
    return [DeliveryInstance(uid, sha256, DeliveryState(state), outcome) for uid, sha256, state, outcome in rows]


def get(connection: Connection, id: str) -> Delivery | None:
    """Return a delivery by its id."""
    return next(iter(_found(connection, deliveries.c.id == id)), None)


def of_runs(connection: Connection, run_keys: Iterable[str]) -> list[Delivery]:
    """Return the deliveries of runs, the first first."""
    return [each for some in pieces(run_keys) for each in _found(connection, deliveries.c.run_key.in_(some))]


def of_study(connection: Connection, caller: str | None, study: str) -> Sequence[Delivery]:
    """Return the deliveries of a caller's, or of everybody's (None), study, the first first."""
    return _found(connection, *_of_study(caller, study))


def listed(
    connection: Connection, state: DeliveryState | None, limit: int, destination: str = ""
) -> Sequence[Delivery]:
    """Return deliveries of all callers, in one state or in any, to one destination or to all, the last first."""
    conditions = [] if state is None else [deliveries.c.state == state.value]
    conditions += [deliveries.c.destination == destination] if destination else []
    query = select(*_COLUMNS).where(*conditions).order_by(deliveries.c.queued_at.desc(), deliveries.c.id).limit(limit)
    return [_delivery(row) for row in connection.execute(query)]


@dataclass(frozen=True)
class DestinationBacklog:
    """What waits for one destination: how many deliveries, when the oldest was queued, and how many are dead."""

    pending: int
    queued_at: float | None
    dead: int


def backlogs(connection: Connection) -> dict[str, DestinationBacklog]:
    """Return what waits and what is dead, by destination."""
    pending, dead = _PENDING, deliveries.c.state == DeliveryState.DEAD.value
    query = select(
        deliveries.c.destination,
        func.sum(case((pending, 1), else_=0)),
        func.min(case((pending, deliveries.c.queued_at))),
        func.sum(case((dead, 1), else_=0)),
    )
    rows = connection.execute(query.where(pending | dead).group_by(deliveries.c.destination))
    return {name: DestinationBacklog(int(waiting), oldest, int(gone)) for name, waiting, oldest, gone in rows}


def due_at(connection: Connection) -> float | None:
    """Return when the next delivery is due, or a lease ends; None where nothing waits."""
    query = select(func.min(deliveries.c.next_at)).where(_PENDING)
    moment: float | None = connection.execute(query).scalar_one()
    return moment


def awaits(caller: ColumnElement[str], sha256: ColumnElement[str]) -> ColumnElement[bool]:
    """Return a condition: an instance of a caller waits for its delivery, and stays in the store until then."""
    same = deliveries.c.id == delivery_instances.c.delivery
    return exists().where(
        same, _PENDING, _INSTANCE_PENDING, deliveries.c.caller == caller, delivery_instances.c.sha256 == sha256
    )


def study_awaits(caller: ColumnElement[str], study: ColumnElement[str]) -> ColumnElement[bool]:
    """Return a condition: something of a caller's study waits for its delivery."""
    return exists().where(_PENDING, deliveries.c.caller == caller, deliveries.c.study_instance_uid == study)


def prune(connection: Connection, before: float) -> None:
    """Remove deliveries that ended before a moment."""
    connection.execute(delete(deliveries).where(deliveries.c.ended_at < before))


def forget(connection: Connection, caller: str | None, study: str) -> int:
    """Remove the deliveries of a caller's, or of everybody's (None), study; return how many were pending."""
    mine = _of_study(caller, study)
    pending = connection.execute(select(func.count()).select_from(deliveries).where(_PENDING, *mine)).scalar_one()
    connection.execute(delete(deliveries).where(*mine))
    return pending


def _of_study(caller: str | None, study: str) -> list[ColumnElement[bool]]:
    mine = [] if caller is None else [deliveries.c.caller == caller]
    return [deliveries.c.study_instance_uid == study, *mine]


def _mine(delivery: Delivery) -> tuple[ColumnElement[bool], ...]:
    """The conditions under which a lease is that of this try."""
    return deliveries.c.id == delivery.id, deliveries.c.tries == delivery.tries, deliveries.c.leased, _PENDING


def _found(connection: Connection, *conditions: ColumnElement[bool]) -> Sequence[Delivery]:
    query = select(*_COLUMNS).where(*conditions).order_by(deliveries.c.queued_at, deliveries.c.id)
    return [_delivery(row) for row in connection.execute(query)]


def _delivery(row: Any, **changed: Any) -> Delivery:
    values = dict(row._mapping) | {"state": DeliveryState(row.state)}
    return Delivery(**values | changed)
