"""Retention: a quota in bytes, an age, and eviction of the least recently used first.

What is in use stays, whatever the quota says: to remove it would free nothing, since its bytes last until it is closed.
A study goes as a whole or not at all: of one that had lost a slice, a model would make a finding like any other.
"""

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from sqlalchemy import Connection, delete, func, literal, select

from gateway.config import Settings
from gateway.errors import StorageFull
from gateway.studies import instance_rows
from gateway.studies.blobs import Blobs, sweep_incoming
from gateway.studies.index import Index
from gateway.studies.tables import LOCATIONS, holdings, input_digests, results
from gateway.studies.tables import instances as instances_table

logger = logging.getLogger("gateway")

ORPHAN_SECONDS = 3600.0
"""Age from which a file that no index knows was left by a process that died; the slowest chunk takes minutes."""
EXPIRE_SECONDS = 60.0
"""Between two looks at what is too old, which nobody sees any more: each chunk would pay for its own."""
CANDIDATES = 256
"""Of the least recently used, looked at together."""

_SUMS = (select(func.coalesce(func.sum(table.c.size), 0)) for table in (instances_table, results))
_USED = select(*(one.scalar_subquery() for one in _SUMS))


class Retention:
    """The rules of one store. Everything here happens while the index is locked for writing."""

    def __init__(
        self, settings: Settings, blobs: Blobs, result_blobs: Blobs, clock: Callable[[], float] = time.time
    ) -> None:
        self._max_bytes = settings.store_max_bytes
        self._max_age = settings.store_max_age
        self._blobs = {"instance": blobs, "result": result_blobs}
        self._clock = clock
        self._expired = -math.inf

    @property
    def since(self) -> float:
        """The moment before which stored files are too old to be seen, in seconds since 1970."""
        return self._clock() - self._max_age

    def make_room(self, connection: Connection, needed: int, spare: Callable[[], Collection[str]] = tuple) -> None:
        """Evict until ``needed`` bytes fit below the quota, but for the studies to ``spare``, which this is a part of.

        Raises StorageFull where what is left is in use.
        """
        if needed > self._max_bytes:
            raise StorageFull("This is more than the whole store may hold.", private="store_max_bytes")
        excess = self._used(connection) + needed - self._max_bytes
        if excess > 0 or self._clock() >= self._expired + EXPIRE_SECONDS:
            self.expire(connection)
            excess = self._used(connection) + needed - self._max_bytes
        if excess > 0 and excess > sum(self._evicted(connection, excess, spare())):
            raise StorageFull("What the store holds is in use; try again later.", private="store_max_bytes")

    def expire(self, connection: Connection) -> None:
        """Remove what is older than it may be; what of it is in use is only out of sight, and goes later."""
        self._expired = self._clock()
        self.collect(connection, instance_rows.release(connection, holdings.c.held_at < self.since))
        old = select(results.c.id, results.c.location).where(results.c.created_at < self.since)
        for name, location in connection.execute(old).all():
            self._remove(connection, "result", name, location)
        connection.execute(delete(input_digests).where(input_digests.c.used_at < self.since))

    def tidy(self, connection: Connection) -> None:
        """Expire, and collect what was in use when its time was over or was set aside too long ago."""
        self.expire(connection)
        self.collect(connection, instance_rows.orphans(connection))
        for blobs in self._blobs.values():
            blobs.purge_older(self.since)

    def collect(self, connection: Connection, digests: Iterable[str], *, used_too: bool = False) -> int:
        """Remove those instances that nobody holds any more, and tell how many went."""
        unheld = list(instance_rows.unheld(connection, digests))
        return sum(self._remove(connection, "instance", *one, used_too=used_too) for one in unheld)

    def _used(self, connection: Connection) -> int:
        return sum(map(int, connection.execute(_USED).one()))

    def lose(self, connection: Connection, study: str) -> None:
        """Nobody holds anything of a study any more, since a part of it was lost; what is in use goes later."""
        digests = [one.sha256 for one in instance_rows.of_study(connection, None, study)]
        for some in instance_rows.pieces(digests):
            instance_rows.release(connection, holdings.c.sha256.in_(some))
        self.collect(connection, digests)

    def _evicted(self, connection: Connection, excess: int, spare: Collection[str]) -> Iterator[int]:
        """The bytes of each study and each result evicted, until there is enough."""
        skipped = dict.fromkeys(self._blobs, 0)
        while rows := self._oldest(connection, skipped):
            for _, kind, name, location, size in rows:
                if excess <= 0:
                    return
                if kind == "result":
                    went = self._remove(connection, kind, name, location)
                else:
                    went = name not in spare and self._remove_study(connection, name)
                if went:
                    excess -= size
                    yield size
                else:
                    skipped[kind] += 1

    def _oldest(self, connection: Connection, skip: dict[str, int]) -> list[tuple[float, str, str, str, int]]:
        """The least recently used: when, kind, name, location, bytes. So many of each kind are passed over."""
        study, used = instances_table.c.study_instance_uid, func.max(instances_table.c.used_at)
        studies = select(used, literal("instance"), study, literal(""), func.sum(instances_table.c.size))
        columns = results.c.used_at, literal("result"), results.c.id, results.c.location, results.c.size
        found: list[tuple[float, str, str, str, int]] = []
        for kind, query in (
            ("instance", studies.group_by(study).order_by(used, study)),
            ("result", select(*columns).order_by(results.c.used_at, results.c.id)),
        ):
            asked = connection.execute(query.limit(CANDIDATES).offset(skip[kind]))
            found += [(when, kind, name, location, int(size)) for when, kind, name, location, size in asked]
        return sorted(found)[:CANDIDATES]

    def _remove_study(self, connection: Connection, study: str) -> bool:
        """Remove all instances of a study and what anyone holds of them, unless one of them is in use."""
        found = instance_rows.of_study(connection, None, study)
        if not self._blobs["instance"].remove(*(one.location for one in found)):
            return False
        for one in found:
            instance_rows.drop(connection, one.sha256)
        return True

    def _remove(self, connection: Connection, kind: str, name: str, location: str, *, used_too: bool = False) -> bool:
        if not self._blobs[kind].remove(location, used_too=used_too):
            return False
        if kind == "instance":
            instance_rows.drop(connection, name)
        else:
            connection.execute(delete(results).where(results.c.id == name))
        return True


def sweep(index: Index, incoming: Path, keepers: dict[str, Blobs], before: float) -> int:
    """Remove what processes that died have left: half files, and whole ones from ``before`` that the index lacks."""
    swept = sweep_incoming(incoming)
    for kind, blobs in keepers.items():
        old = [location for location, came in blobs.names() if came < before]
        for some in instance_rows.pieces(old):
            with index.writing() as connection:
                query = select(LOCATIONS[kind]).where(LOCATIONS[kind].in_(some))
                orphans = set(some) - set(connection.execute(query).scalars())
                swept += sum(blobs.remove(location) for location in sorted(orphans))
    if swept:
        logger.info("the study store was swept of %d files that were left behind", swept)
    return swept
