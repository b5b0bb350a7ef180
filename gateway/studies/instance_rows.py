"""Rows of instances in the index, read and written within the rights of one caller."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, delete, func, insert, select, update

from gateway.studies.manifests import ManifestEntry
from gateway.studies.tables import holdings, instances

AT_ONCE = 1_000
"""Values in one statement; SQLite takes 32,766 and grows slow before that."""
TOUCH_SECONDS = 60.0
"""How old a note of the last use may grow: noting each would make readers wait for each other."""
MAX_PAGE = 1_000
"""Entries of one page of a list."""


@dataclass(frozen=True, slots=True)
class HeldInstance:
    """An instance that a caller holds."""

    sha256: str
    location: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    size: int


@dataclass(frozen=True, slots=True)
class StudySummary:
    """A caller's instances of one study, in numbers. Times are seconds since 1970."""

    study_instance_uid: str
    series: int
    instances: int
    size: int
    stored_at: float
    used_at: float


def held(connection: Connection, caller: str, since: float, *conditions: ColumnElement[bool]) -> list[HeldInstance]:
    """Return a caller's instances since the moment ``since`` that meet the conditions, by series and SOP UID."""
    query = (
        select(*(instances.c[name] for name in HeldInstance.__slots__))
        .join(holdings, holdings.c.sha256 == instances.c.sha256)
        .where(holdings.c.caller == caller, holdings.c.held_at >= since, *conditions)
        .order_by(instances.c.series_instance_uid, instances.c.sop_instance_uid)
    )
    return [HeldInstance(*row) for row in connection.execute(query)]


def held_in(
    connection: Connection, caller: str, since: float, column: ColumnElement[str], values: Iterable[str]
) -> list[HeldInstance]:
    """The same, of those whose ``column`` has one of many values."""
    return [instance for some in pieces(values) for instance in held(connection, caller, since, column.in_(some))]


# made once, since they are asked for each chunk, and to make them takes as long as to ask them
_DIGESTS: BindParameter[list[str]] = bindparam("digests", expanding=True)
_KNOWN = select(instances.c.sha256, instances.c.location).where(instances.c.sha256.in_(_DIGESTS))
_OF_CALLER = delete(holdings).where(
    holdings.c.caller == bindparam("of"), holdings.c.sop_instance_uid.in_(bindparam("uids", expanding=True))
)
_HELD = select(holdings.c.sop_instance_uid, holdings.c.sha256).where(
    holdings.c.caller == bindparam("caller"),
    holdings.c.held_at >= bindparam("since"),
    holdings.c.sop_instance_uid.in_(bindparam("uids", expanding=True)),
)


def states(
    connection: Connection, caller: str, since: float, entries: Sequence[ManifestEntry]
) -> list[tuple[str, str | None]]:
    """For each entry ``present``, ``missing``, or ``conflict`` and the digest that is held, or was named, before it."""
    uids = dict.fromkeys(entry.sop_instance_uid for entry in entries)
    parameters = ({"caller": caller, "since": since, "uids": some} for some in pieces(uids))
    stored = {uid: digest for each in parameters for uid, digest in connection.execute(_HELD, each)}
    named, answers = dict(stored), list[tuple[str, str | None]]()
    for entry in entries:
        expected = named.setdefault(entry.sop_instance_uid, entry.sha256)
        if expected != entry.sha256:
            answers.append(("conflict", expected))
        else:
            answers.append(("present" if entry.sop_instance_uid in stored else "missing", None))
    return answers


def add(connection: Connection, placed: Iterable[tuple[ManifestEntry, str]], now: float) -> None:
    """New instances by where they lie; nobody holds them yet."""
    rows = [
        {
            "sha256": entry.sha256,
            "location": location,
            "sop_instance_uid": entry.sop_instance_uid,
            "series_instance_uid": entry.series_instance_uid,
            "study_instance_uid": entry.study_instance_uid,
            "size": entry.size,
            "stored_at": now,
            "used_at": now,
        }
        for entry, location in placed
    ]
    if rows:
        connection.execute(insert(instances), rows)


def hold(connection: Connection, caller: str, entries: Iterable[ManifestEntry], now: float) -> None:
    """The caller has shown these; their time is counted anew, and what was held before under their UIDs goes."""
    rows = [
        {"caller": caller, "sha256": entry.sha256, "sop_instance_uid": entry.sop_instance_uid, "held_at": now}
        for entry in entries
    ]
    if rows:
        connection.execute(_OF_CALLER, {"of": caller, "uids": [row["sop_instance_uid"] for row in rows]})
        connection.execute(insert(holdings), rows)


def release(connection: Connection, *conditions: ColumnElement[bool]) -> list[str]:
    """Holdings that meet the conditions are no more: their digests. The instances stay until they are collected."""
    digests = list(connection.execute(select(holdings.c.sha256).where(*conditions).distinct()).scalars())
    if digests:
        connection.execute(delete(holdings).where(*conditions))
    return digests


def unheld(connection: Connection, digests: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Digest and location of those instances that nobody holds."""
    someone = select(holdings.c.sha256).where(holdings.c.sha256 == instances.c.sha256).exists()
    for some in pieces(digests):
        query = select(instances.c.sha256, instances.c.location).where(~someone, instances.c.sha256.in_(some))
        yield from connection.execute(query).all()


def shared(connection: Connection, caller: str, digests: Iterable[str]) -> set[str]:
    """Return the digests that other callers hold too."""
    query = select(holdings.c.sha256).where(holdings.c.caller != caller)
    chunks = pieces(digests)
    return {
        sha256 for some in chunks for sha256 in connection.execute(query.where(holdings.c.sha256.in_(some))).scalars()
    }


def orphans(connection: Connection) -> list[str]:
    """Digests of all instances that nobody holds; slow."""
    someone = select(holdings.c.sha256).where(holdings.c.sha256 == instances.c.sha256).exists()
    return list(connection.execute(select(instances.c.sha256).where(~someone)).scalars())


def drop(connection: Connection, sha256: str) -> None:
    """An instance is no more, nor what anyone holds of it."""
    connection.execute(delete(instances).where(instances.c.sha256 == sha256))


def known(connection: Connection, digests: Iterable[str]) -> dict[str, str]:
    """Return the locations of stored files, of any caller, by their digests."""
    parameters = ({"digests": some} for some in pieces(digests))
    return {digest: location for each in parameters for digest, location in connection.execute(_KNOWN, each)}


def located(connection: Connection, sha256: str) -> str | None:
    """Return the location of an instance of any caller; None where it is not stored."""
    query = select(instances.c.location).where(instances.c.sha256 == sha256)
    return connection.execute(query).scalar_one_or_none()


def stale(connection: Connection, digests: Sequence[str], now: float) -> bool:
    """Return True if the last use of any of these was recorded too long ago."""
    long_ago = instances.c.used_at < now - TOUCH_SECONDS
    asked = (
        select(instances.c.sha256).where(instances.c.sha256.in_(some), long_ago).limit(1) for some in pieces(digests)
    )
    return any(connection.execute(query).first() for query in asked)


def touch(connection: Connection, digests: Sequence[str], now: float) -> None:
    """Record that these have been used."""
    for some in pieces(digests):
        connection.execute(update(instances).where(instances.c.sha256.in_(some)).values(used_at=now))


def summaries(connection: Connection, caller: str, since: float, *, after: str, limit: int) -> list[StudySummary]:
    """A caller's studies by UID, those behind ``after``."""
    uid = instances.c.study_instance_uid
    query = (
        select(
            uid,
            func.count(instances.c.series_instance_uid.distinct()),
            func.count(),
            func.sum(instances.c.size),
            func.min(holdings.c.held_at),
            func.max(instances.c.used_at),
        )
        .join(holdings, holdings.c.sha256 == instances.c.sha256)
        .where(holdings.c.caller == caller, holdings.c.held_at >= since, uid > after)
        .group_by(uid)
        .order_by(uid)
        .limit(min(limit, MAX_PAGE))
    )
    rows = connection.execute(query).all()
    return [StudySummary(uid, series, count, int(size), *times) for uid, series, count, size, *times in rows]


def of_each_series(connection: Connection, caller: str, since: float, studies: Iterable[str]) -> list[HeldInstance]:
    """Return one of a caller's instances of each series of some studies, by series UID."""
    digests = [
        digest
        for some in pieces(studies)
        for digest in connection.execute(
            select(func.min(instances.c.sha256))
            .join(holdings, holdings.c.sha256 == instances.c.sha256)
            .where(holdings.c.caller == caller, holdings.c.held_at >= since)
            .where(instances.c.study_instance_uid.in_(some))
            .group_by(instances.c.study_instance_uid, instances.c.series_instance_uid)
        ).scalars()
    ]
    return held_in(connection, caller, since, instances.c.sha256, digests)


def of_study(connection: Connection, caller: str | None, study: str) -> list[HeldInstance]:
    """All instances of a study that a caller, or anybody (None), holds or has held for too long."""
    columns = [instances.c[name] for name in HeldInstance.__slots__]
    query = select(*columns).where(instances.c.study_instance_uid == study)
    if caller is not None:
        query = query.join(holdings, holdings.c.sha256 == instances.c.sha256).where(holdings.c.caller == caller)
    return [HeldInstance(*row) for row in connection.execute(query)]


def begun(connection: Connection, caller: str, studies: Iterable[str]) -> set[str]:
    """Return the studies of which a caller has at least one instance."""
    uid = instances.c.study_instance_uid
    query = select(uid).join(holdings, holdings.c.sha256 == instances.c.sha256).where(holdings.c.caller == caller)
    return {study for some in pieces(studies) for study in connection.execute(query.where(uid.in_(some))).scalars()}


def pieces(values: Iterable[str]) -> Iterator[list[str]]:
    """Split values into lists that fit one statement."""
    iterator = iter(values)
    while some := list(islice(iterator, AT_ONCE)):
        yield some
