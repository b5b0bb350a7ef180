"""A caller's stored series, the latest first."""

from typing import NamedTuple

from sqlalchemy import Connection, select

from gateway.studies.tables import holdings, instances

LATEST = 20_000
"""Instances among which series are looked for, the latest: a list costs the same in a store of any size."""


class StoredSeries(NamedTuple):
    """A series; ``stored_at`` is the time of its latest instance, in seconds since 1970."""

    series_instance_uid: str
    study_instance_uid: str
    stored_at: float


def latest_series(connection: Connection, caller: str, since: float) -> list[StoredSeries]:
    """Return the series of a caller's LATEST instances that are stored since the moment ``since``."""
    query = (
        select(instances.c.series_instance_uid, instances.c.study_instance_uid, holdings.c.held_at)
        .join(holdings, holdings.c.sha256 == instances.c.sha256)
        .where(holdings.c.caller == caller, holdings.c.held_at >= since)
        .order_by(holdings.c.held_at.desc())
        .limit(LATEST)
    )
    found: dict[str, StoredSeries] = {}
    for row in connection.execute(query):
        found.setdefault(row.series_instance_uid, StoredSeries(*row))
    return list(found.values())
