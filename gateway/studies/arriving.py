"""Instances that arrive one by one on several connections: each is checked alone, and those of one moment are committed
together.

A sender waits for the answer to each instance, so a transaction is the price of each. Whoever comes while one is being
written joins the next one.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from sqlalchemy import Connection

from gateway.dicom.web.instance_attributes import InstanceAttributes
from gateway.errors import GatewayError
from gateway.studies import arrival_rows, instance_rows, round_rows
from gateway.studies.arrival_rows import Sender
from gateway.studies.blobs import Incoming
from gateway.studies.manifests import ManifestEntry
from gateway.studies.store import Store
from gateway.studies.uploads import ArrivedInstance, InstanceBatch


class Arrived(NamedTuple):
    """A whole file that a sender has transmitted, with its attributes where the tables of queries need them."""

    sender: Sender
    file: Incoming
    entry: ManifestEntry
    attributes: InstanceAttributes | None


@dataclass
class _Waiting:
    arrived: Arrived
    location: str
    conflict: bool = False
    error: BaseException | None = None
    done: bool = field(default=False)


class RoundNews(Protocol):
    """Tells the processes of the store that a round should be looked at."""

    def announce(self, connection: Connection, changes: Mapping[str, str]) -> None:
        """Announce words of changes by keys, within the transaction that makes them."""

    def announced(self, changes: Mapping[str, str]) -> None:
        """Announce changes that are committed."""


NEWS = {"rounds": "arrived"}
"""What is announced of rounds."""


class Arriving:
    """Stores the instances of all connections of one process."""

    def __init__(self, store: Store, news: RoundNews | None = None) -> None:
        """``news`` announces rounds, where studies are routed."""
        self._store, self._news = store, news
        self._mutex, self._turn = threading.Lock(), threading.Lock()
        self._waiting: list[_Waiting] = []

    def keep(self, arrived: Arrived) -> bool:
        """Store an instance; false where its sender's caller has another file of this SOP Instance UID.

        The bytes and their rows are as safe as those of any upload when this returns. Raises StorageFull, Unavailable.
        """
        location = self._store.blobs["instances"].settle(arrived.file, arrived.entry.sha256, late=True)
        mine = _Waiting(arrived, location)
        with self._mutex:
            self._waiting.append(mine)
        with self._turn:
            if not mine.done:
                with self._mutex:
                    some, self._waiting = self._waiting, []
                self._commit(some)
        if mine.error is not None:
            raise mine.error
        return not mine.conflict

    def end(self, sender: Sender) -> None:
        """Record that an association is over. Raises Unavailable."""
        store = self._store
        with store.index.writing() as connection:
            now = store.clock()
            arrival_rows.end(connection, sender, now)
            due = store.settings.routing is not None and round_rows.association_ended(connection, sender, now)
            self.announce(connection, due)
        self.announced(due)

    def announce(self, connection: Connection, due: bool) -> None:
        """Announce within a transaction that a round is due, where one is."""
        if due and self._news is not None:
            self._news.announce(connection, NEWS)

    def announced(self, due: bool) -> None:
        """Announce a round that is due, where one is, and is committed."""
        if due and self._news is not None:
            self._news.announced(NEWS)

    def _commit(self, some: Sequence[_Waiting]) -> None:
        for caller in dict.fromkeys(one.arrived.sender.caller for one in some):
            of_caller = [one for one in some if one.arrived.sender.caller == caller]
            try:
                with _ArrivedBatch(self._store, caller, of_caller) as batch:
                    self.announced(batch.keep(self.announce))
            except BaseException as error:
                for one in of_caller:
                    one.error = error
                if not isinstance(error, GatewayError):
                    raise
            finally:
                for one in of_caller:
                    one.done = True


class _ArrivedBatch(InstanceBatch):
    """Files of one caller, placed in one transaction, which lasts as long as their bytes, names and rows need."""

    def __init__(self, store: Store, caller: str, waiting: Sequence[_Waiting]) -> None:
        super().__init__(store, caller, [one.arrived.entry for one in waiting])
        self._group = waiting
        for one in waiting:
            entry = one.arrived.entry
            self._settled.setdefault(entry.sha256, (one.arrived.file, one.location))
            if one.arrived.attributes is not None:
                self._attributes[entry.sha256] = one.arrived.attributes

    def place(self, sha256: str) -> str:
        """Put one of them where it belongs; its bytes are made to last with its name. Raises StorageFull."""
        self._late.append(self._settled[sha256][0])
        return super().place(sha256)

    def keep(self, announce: Callable[[Connection, bool], None]) -> bool:
        """Place what is new, hold what is no conflict, and count it for its senders; ``announce`` a round that is due.

        Return True where there is one. A result of a rule that returns is stored here already, in other bytes perhaps.
        Raises StorageFull.
        """
        store = self._store
        with store.index.writing() as connection:
            states = instance_rows.states(connection, self._caller, store.retention.since, self._entries)
            own = self._returned(connection, states)
            kept: dict[str, ManifestEntry] = {}
            arrived: list[ArrivedInstance] = []
            for one, (state, _) in zip(self._group, states, strict=True):
                entry = one.arrived.entry
                one.conflict = state == "conflict" and entry.sop_instance_uid not in own
                if state != "conflict":
                    kept.setdefault(entry.sha256, entry)
                if not one.conflict:
                    arrived.append(ArrivedInstance(one.arrived.sender, entry, state == "missing"))
            self._hold(connection, list(kept.values()))
            due = self._count(connection, arrived)
            announce(connection, due)
        return due
