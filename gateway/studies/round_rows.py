"""Rounds of studies in the index: opened by what arrives, looked at until every rule has judged them.

A round is what arrived of a caller's study until a rule took it; instances that come later open the next one, which
names the one that it replaces.
"""

import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, exists, func, insert, select, update

from gateway.studies import routing_rows
from gateway.studies.arrival_rows import Sender
from gateway.studies.instance_rows import pieces
from gateway.studies.routing_rows import Routing
from gateway.studies.row_leases import RowLeases
from gateway.studies.tables import arrivals, rounds, routings


class RoundState(StrEnum):
    """The state of a round; of a ``complete`` one every rule has judged."""

    ARRIVING = "arriving"
    COMPLETE = "complete"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """The number of a study's instances by a peer, ``at`` a moment in seconds since 1970; -1 for no answer."""

    count: int
    at: float


@dataclass(frozen=True, kw_only=True)
class Round:
    """A round. Times are seconds since 1970; ``ended_at`` is None while an association lasts that sends it.

    ``replaces`` is the number of the round before it, 0 for none; ``content`` a digest of its instances, "" before a
    rule took it. ``senders`` are AE titles, "" for HTTP. ``stated`` are statements of peers by their names;
    ``verdicts`` the reasons by which rules did not take it, by their names, "" for one that did.
    """

    id: str
    caller: str
    study_instance_uid: str
    number: int
    replaces: int
    state: RoundState
    content: str
    instances: int
    senders: tuple[str, ...]
    began_at: float
    latest_at: float
    ended_at: float | None
    due_at: float
    stated: Mapping[str, Statement]
    verdicts: Mapping[str, str]
    routings: tuple[Routing, ...] = field(default=())
    """Of ``listed`` and ``of_study`` alone."""


_ARRIVING = rounds.c.state == RoundState.ARRIVING.value
LEASES = RowLeases(rounds, _ARRIVING)
# made once, since they are asked for each instance that arrives
_LAST = (
    select(rounds)
    .where(rounds.c.caller == bindparam("of"), rounds.c.study_instance_uid == bindparam("study"))
    .order_by(rounds.c.number.desc())
    .limit(1)
)
_CHANGE = update(rounds).where(rounds.c.id == bindparam("round"))


def arrived(connection: Connection, sender: Sender, study: str, *, new: bool, now: float) -> bool:
    """Record that instances of a study have arrived; True where a round has begun that should be looked at.

    ``new`` tells that some of them were not stored before: the same instances once more open no round.
    """
    last = _last(connection, sender.caller, study)
    if last is not None and (last.state != RoundState.ARRIVING or last.content):
        if not new:
            connection.execute(_CHANGE, {"round": last.id, "latest_at": now})
            return False
        connection.execute(_CHANGE, {"round": last.id, "state": RoundState.COMPLETE.value, "holder": ""})
    elif last is not None:
        senders = json.dumps(sorted({*json.loads(last.senders), sender.title}))
        more = {"latest_at": now, "ended_at": None, "senders": senders, "verdicts": "{}"}
        connection.execute(_CHANGE, {"round": last.id, **more})
        return False
    _open(connection, sender, study, 0 if last is None else last.number, now)
    return True


def _last(connection: Connection, caller: str, study: str) -> Any:
    return connection.execute(_LAST, {"of": caller, "study": study}).one_or_none()


def _open(connection: Connection, sender: Sender, study: str, former: int, now: float) -> None:
    row = {
        "id": secrets.token_hex(16),
        "caller": sender.caller,
        "study_instance_uid": study,
        "number": former + 1,
        "replaces": former,
        "state": RoundState.ARRIVING.value,
        "content": "",
        "instances": 0,
        "senders": json.dumps([sender.title]),
        "began_at": now,
        "latest_at": now,
        "due_at": now,
        "holder": "",
        "stated": "{}",
        "verdicts": "{}",
    }
    connection.execute(insert(rounds), row)


def association_ended(connection: Connection, sender: Sender, now: float) -> bool:
    """Record the end of an association in the rounds that it sent alone by now; True where there are some.

    Call it after ``arrival_rows.end``. One whose process died counts as lasting: the quiet time tells then.
    """
    studies = select(arrivals.c.study_instance_uid).where(arrivals.c.association == sender.id)
    lasting = arrivals.c.ended_at.is_(None) & (arrivals.c.sender != "") & (arrivals.c.latest_at >= rounds.c.began_at)
    same = (arrivals.c.caller == rounds.c.caller) & (arrivals.c.study_instance_uid == rounds.c.study_instance_uid)
    over = (rounds.c.caller == sender.caller) & rounds.c.study_instance_uid.in_(studies) & _ARRIVING
    over &= ~select(arrivals.c.association).where(lasting, same).exists()
    ended = connection.execute(update(rounds).where(over).values(ended_at=now)).rowcount
    connection.execute(update(rounds).where(over, rounds.c.holder == "").values(due_at=now))
    return ended > 0


def claim(connection: Connection, holder: str, now: float, lease: float) -> Round | None:
    """Take the round that is due longest, for ``lease`` seconds; None where none is due."""
    row = LEASES.claim(connection, holder, now, lease)
    return None if row is None else _round(row)


def held(connection: Connection, id: str, holder: str) -> Round | None:
    """Return a claimed round as it is now; None where it is another's by now, is over, or was forgotten."""
    row = connection.execute(select(rounds).where(LEASES.mine(id, holder))).one_or_none()
    return None if row is None else _round(row)


def release(connection: Connection, id: str, holder: str, due_at: float, **columns: Any) -> None:
    """Give a claimed round back, to be looked at from ``due_at`` on, with new values of ``columns``."""
    mine = rounds.c.id == id, rounds.c.holder == holder
    connection.execute(update(rounds).where(*mine).values(holder="", due_at=due_at, **columns))


def as_text(verdicts: Mapping[str, str]) -> str:
    """Return the column of verdicts."""
    return json.dumps(verdicts)


def get(connection: Connection, id: str) -> Round | None:
    """Return a round by its id; None where it was forgotten."""
    row = connection.execute(select(rounds).where(rounds.c.id == id)).one_or_none()
    return None if row is None else _round(row)


def state_numbers(connection: Connection, id: str, stated: Mapping[str, Statement]) -> None:
    """Record the numbers of instances that peers have stated."""
    text = json.dumps({peer: [statement.count, statement.at] for peer, statement in stated.items()})
    connection.execute(update(rounds).where(rounds.c.id == id).values(stated=text))


def listed(connection: Connection, limit: int, *conditions: ColumnElement[bool]) -> list[Round]:
    """Return rounds with their routings, the latest first: those that meet all conditions."""
    query = select(rounds).where(*conditions).order_by(rounds.c.latest_at.desc(), rounds.c.id).limit(limit)
    return _whole(connection, connection.execute(query).all())


def of_study(connection: Connection, study: str, caller: str | None = None) -> list[Round]:
    """Return the rounds of a study with their routings, the first first: a caller's, or everybody's (None)."""
    mine = [] if caller is None else [rounds.c.caller == caller]
    query = select(rounds).where(rounds.c.study_instance_uid == study, *mine)
    return _whole(connection, connection.execute(query.order_by(rounds.c.caller, rounds.c.number)).all())


@dataclass(frozen=True, kw_only=True)
class RoundCounts:
    """The numbers of rounds by state, when the oldest that still arrives began, and the time of the latest instance.

    None where none arrives, and where there is no round.
    """

    states: dict[str, int]
    oldest: float | None
    latest: float | None


def counts(connection: Connection) -> RoundCounts:
    """Count the rounds."""
    query = select(rounds.c.state, func.count()).group_by(rounds.c.state)
    numbers = dict.fromkeys(map(str, RoundState), 0) | {state: int(count) for state, count in connection.execute(query)}
    oldest = connection.execute(select(func.min(rounds.c.began_at)).where(_ARRIVING)).scalar_one()
    latest = connection.execute(select(func.max(rounds.c.latest_at))).scalar_one()
    return RoundCounts(states=numbers, oldest=oldest, latest=latest)


def study_awaits(caller: ColumnElement[str], study: ColumnElement[str]) -> ColumnElement[bool]:
    """Return a condition: a caller's study is routed, and stays in the store until its rules have ended."""
    arriving = exists().where(_ARRIVING, rounds.c.caller == caller, rounds.c.study_instance_uid == study)
    of_routing = routings.c.round == rounds.c.id, routings.c.state.in_([*map(str, routing_rows.LIVE_ROUTINGS)])
    mine = (rounds.c.caller == caller) | (routings.c.caller == caller)
    return arriving | exists().where(*of_routing, mine, rounds.c.study_instance_uid == study)


def prune(connection: Connection, before: float) -> None:
    """Remove rounds whose latest instance is older than a moment, with their routings."""
    connection.execute(delete(rounds).where(rounds.c.latest_at < before))


def forget(connection: Connection, caller: str | None, studies: Iterable[str]) -> None:
    """Remove the rounds of a caller's, or everybody's (None), studies, with their routings."""
    mine = [] if caller is None else [rounds.c.caller == caller]
    for some in pieces(studies):
        connection.execute(delete(rounds).where(rounds.c.study_instance_uid.in_(some), *mine))


def _whole(connection: Connection, rows: Sequence[Row[Any]]) -> list[Round]:
    routings: dict[str, list[Routing]] = {}
    for routing in routing_rows.of_rounds(connection, [row.id for row in rows]):
        routings.setdefault(routing.round, []).append(routing)
    return [_round(row, routings.get(row.id, ())) for row in rows]


def _round(row: Any, routings: Collection[Routing] = ()) -> Round:
    values = {name: getattr(row, name) for name in Round.__dataclass_fields__ if name != "routings"}
    stated = {peer: Statement(count=count, at=at) for peer, (count, at) in json.loads(row.stated).items()}
    read = {"senders": tuple(json.loads(row.senders)), "verdicts": json.loads(row.verdicts), "stated": stated}
    return Round(**values | read | {"state": RoundState(row.state), "routings": tuple(routings)})
