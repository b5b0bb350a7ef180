"""Arrivals in the index: what each association stored of each study, so that a later process can tell when it came."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from gateway.studies.tables import arrivals

_COUNT = (
    update(arrivals)
    .where(arrivals.c.association == bindparam("of"), arrivals.c.study_instance_uid == bindparam("study"))
    .values(instances=arrivals.c.instances + bindparam("more"), latest_at=bindparam("at"))
)


@dataclass(frozen=True)
class Sender:
    """An association that stores: a random ``id``, its calling AE ``title``, and the caller that owns what it sends.

    What a caller sends over HTTP counts as one association without a title, which never ends.
    """

    id: str
    title: str
    caller: str


def http_sender(caller: str) -> Sender:
    """Return a caller as the sender of its requests."""
    return Sender(hashlib.sha256(f"http {caller}".encode()).hexdigest()[:32], "", caller)


@dataclass(frozen=True)
class Arrival:
    """What an association stored of a study. Times are seconds since 1970; ``ended_at`` is None while it lasts, and
    where its process died: then the time since ``latest_at`` tells.
    """

    association: str
    study_instance_uid: str
    caller: str
    sender: str
    began_at: float
    latest_at: float
    ended_at: float | None
    instances: int


def count(connection: Connection, sender: Sender, study: str, instances: int, now: float) -> None:
    """Count instances that an association has stored of a study."""
    counted = connection.execute(_COUNT, {"of": sender.id, "study": study, "more": instances, "at": now})
    if counted.rowcount == 0:
        row = {
            "association": sender.id,
            "study_instance_uid": study,
            "caller": sender.caller,
            "sender": sender.title,
            "began_at": now,
            "latest_at": now,
            "instances": instances,
        }
        connection.execute(insert(arrivals), row)


def end(connection: Connection, sender: Sender, now: float) -> None:
    """An association is over, by its release or otherwise."""
    connection.execute(update(arrivals).where(arrivals.c.association == sender.id).values(ended_at=now))


def of_study(connection: Connection, caller: str, study: str) -> list[Arrival]:
    """Return the arrivals of a caller's study, the first first."""
    columns = [arrivals.c[name] for name in Arrival.__dataclass_fields__]
    query = select(*columns).where(arrivals.c.caller == caller, arrivals.c.study_instance_uid == study)
    return [Arrival(*row) for row in connection.execute(query.order_by(arrivals.c.began_at))]


def since(connection: Connection, moment: float) -> list[Arrival]:
    """Return the arrivals with an instance since a moment, by the time of their latest."""
    columns = [arrivals.c[name] for name in Arrival.__dataclass_fields__]
    query = select(*columns).where(arrivals.c.latest_at >= moment).order_by(arrivals.c.latest_at)
    return [Arrival(*row) for row in connection.execute(query)]


def prune(connection: Connection, before: float) -> None:
    """Remove arrivals whose latest instance is older than a moment."""
    connection.execute(delete(arrivals).where(arrivals.c.latest_at < before))


def forget(connection: Connection, caller: str | None, studies: Iterable[str]) -> None:
    """Remove the arrivals of a caller's, or everybody's (None), studies."""
    mine = [] if caller is None else [arrivals.c.caller == caller]
    connection.execute(delete(arrivals).where(arrivals.c.study_instance_uid.in_(list(studies)), *mine))
