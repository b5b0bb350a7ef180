"""Retention: a quota in bytes with a share of it for each caller, and an age.

What is in use stays, whatever the quota says: to remove it would free nothing, since its bytes last until it is closed.
A study goes as a whole or not at all: of one that had lost a slice, a model would make a finding like any other.
What waits for its delivery to a peer stays until it is delivered, or dead.
"""

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from sqlalchemy import Connection, delete, func, select

from gateway.config import Settings
from gateway.errors import StorageFull
from gateway.studies import (
    arrival_rows,
    caller_rates,
    commitment_rows,
    delivery_rows,
    instance_rows,
    round_rows,
    run_rows,
    session_rows,
)
from gateway.studies.blobs import Blobs, sweep_incoming
from gateway.studies.eviction import RESULT, RUN, SESSION, Candidate, Eviction
from gateway.studies.index import Index
from gateway.studies.query import query_rows
from gateway.studies.tables import LOCATIONS, holdings, input_digests, results, run_records, session_files
from gateway.studies.tables import instances as instances_table

logger = logging.getLogger("gateway")

ORPHAN_SECONDS = 3600.0
"""Age from which a file that no index knows was left by a process that died; the slowest chunk takes minutes."""
COUNT_SECONDS, COUNT_SHARE = 10.0, 256
"""How long, and up to which share of the quota, a process adds bytes before it counts all again: with 64 GiB of CT
slices that takes a quarter of a second, and each instance of a sender would pay it. The quota is exact to that share
for each process."""
EXPIRE_SECONDS = 60.0
"""Between two looks at what is too old, which nobody sees any more: each chunk would pay for its own."""

_SUMS = (
    select(func.coalesce(func.sum(table.c.size), 0)) for table in (instances_table, results, run_records, session_files)
)
_USED = select(*(total.scalar_subquery() for total in _SUMS))


class Retention:
    """The rules of one store. Everything here happens while the index is locked for writing."""

    def __init__(self, settings: Settings, blobs: Mapping[str, Blobs], clock: Callable[[], float]) -> None:
        self._max_bytes = settings.store_max_bytes
        self._max_age = settings.store_max_age
        self._caller_bytes = settings.store_caller_bytes
        self._session_ttl = settings.backendai_session_ttl
        self._blobs = {kind: blobs[f"{kind}s"] for kind in ("instance", "result", "run", "session")}
        self._clock = clock
        self._expired = -math.inf
        self._free, self._counted = 0, -math.inf
        """Bytes that this process may add before it counts again, and when it counted."""

    @property
    def since(self) -> float:
        """The moment before which stored files are too old to be seen, in seconds since 1970."""
        return self._clock() - self._max_age

    def make_room(
        self, connection: Connection, caller: str, needed: int, spare: Callable[[], Collection[str]] = tuple
    ) -> None:
        """Evict until ``needed`` bytes of a caller fit below the quota, but for its studies and sessions to ``spare``.

        ``spare`` are those that the bytes are a part of. Raises StorageFull where what is left is in use, or the share
        of another caller.
        """
        if needed > self._max_bytes:
            raise StorageFull("This is more than the whole store may hold.", private="store_max_bytes")
        now = self._clock()
        if needed <= self._free and now < min(self._counted + COUNT_SECONDS, self._expired + EXPIRE_SECONDS):
            self._free -= needed
            return
        excess = self._used(connection) + needed - self._max_bytes
        if excess > 0 or now >= self._expired + EXPIRE_SECONDS:
            self.expire(connection)
            excess = self._used(connection) + needed - self._max_bytes
        if excess > 0:
            excess -= self._evict(connection, caller, needed, excess, spare())
        if excess > 0:
            self.collect(connection, instance_rows.orphans(connection))
            excess = self._used(connection) + needed - self._max_bytes
            if excess > 0:
                detail = "What the store holds is in use, or the share of others; remove studies or try again later."
                raise StorageFull(detail, private="store_max_bytes")
        self._free, self._counted = min(-excess, self._max_bytes // COUNT_SHARE), now

    def expire(self, connection: Connection) -> None:
        """Remove what is older than it may be; what of it is in use is only out of sight, and goes later."""
        self._expired = self._clock()
        awaited = delivery_rows.awaits(holdings.c.caller, holdings.c.sha256)
        self.collect(connection, instance_rows.release(connection, holdings.c.held_at < self.since, ~awaited))
        old = select(results.c.id, results.c.location).where(results.c.created_at < self.since)
        for name, location in connection.execute(old).all():
            self._remove(connection, "result", name, location)
        connection.execute(delete(input_digests).where(input_digests.c.used_at < self.since))
        session_rows.expire(connection, self._blobs["session"], self._clock(), self._session_ttl)
        query_rows.prune(connection)
        query_rows.renew_oldest(connection, self.since)
        arrival_rows.prune(connection, self.since)
        commitment_rows.prune(connection, self.since)
        round_rows.prune(connection, self.since)
        delivery_rows.prune(connection, self.since)
        caller_rates.prune(connection, self.since)

    def tidy(self, connection: Connection) -> None:
        """Expire, and collect what was in use when its time was over or was set aside too long ago."""
        self.expire(connection)
        self.collect(connection, instance_rows.orphans(connection))
        for blobs in self._blobs.values():
            blobs.purge_older(self.since)

    def collect(self, connection: Connection, digests: Iterable[str], *, used_too: bool = False) -> int:
        """Remove those instances that nobody holds any more, and tell how many went."""
        unheld = list(instance_rows.unheld(connection, digests))
        return sum(self._remove(connection, "instance", *instance, used_too=used_too) for instance in unheld)

    def _used(self, connection: Connection) -> int:
        return sum(map(int, connection.execute(_USED).one()))

    def lose(self, connection: Connection, study: str) -> None:
        """Nobody holds anything of a study any more, since a part of it was lost; what is in use goes later."""
        digests = [instance.sha256 for instance in instance_rows.of_study(connection, None, study)]
        for some in instance_rows.pieces(digests):
            instance_rows.release(connection, holdings.c.sha256.in_(some))
        self.collect(connection, digests)
        query_rows.prune(connection, [study])

    def _evict(self, connection: Connection, caller: str, needed: int, excess: int, spare: Collection[str]) -> int:
        def remove(candidate: Candidate) -> int | None:
            if candidate.kind == RESULT:
                removed = self._remove(connection, RESULT, candidate.name, candidate.location)
                return candidate.size if removed else None
            if candidate.kind == RUN:
                run_rows.expire(connection, self._blobs["run"], [candidate.name])
                return candidate.size
            if candidate.kind == SESSION and candidate.name not in spare:
                session_rows.remove(connection, self._blobs["session"], [candidate.name])
                return candidate.size
            if candidate.kind == SESSION:
                return None
            if candidate.caller == caller and candidate.name in spare:
                return None
            return self._remove_study(connection, candidate.caller, candidate.name)

        eviction = Eviction(connection, caller, needed, self._max_bytes, self._caller_bytes)
        return eviction.evict(excess, remove)

    def _remove_study(self, connection: Connection, caller: str, study: str) -> int | None:
        """Remove a caller's whole study; the bytes that no other caller has. None where one of these is in use."""
        instances = instance_rows.of_study(connection, caller, study)
        shared = instance_rows.shared(connection, caller, (instance.sha256 for instance in instances))
        own = [instance for instance in instances if instance.sha256 not in shared]
        if not self._blobs["instance"].remove(*(instance.location for instance in own)):
            return None
        for instance in own:
            instance_rows.drop(connection, instance.sha256)
        for some in instance_rows.pieces(shared):
            instance_rows.release(connection, holdings.c.caller == caller, holdings.c.sha256.in_(some))
        query_rows.prune(connection, [study])
        return sum(instance.size for instance in own)

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
