"""Instances that arrive one by one on several connections: each is checked alone, and those of one moment are committed
together.

A sender waits for the answer to each instance, so a transaction is the price of each. Whoever comes while one is being
written joins the next one.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.dicom.web.instance_attributes import InstanceAttributes
from gateway.errors import GatewayError
from gateway.studies import arrival_rows, instance_rows
from gateway.studies.arrival_rows import Sender
from gateway.studies.blobs import Incoming
from gateway.studies.manifests import ManifestEntry
from gateway.studies.store import Store
from gateway.studies.uploads import InstanceBatch


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


class Arriving:
    """Stores the instances of all connections of one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mutex, self._turn = threading.Lock(), threading.Lock()
        self._waiting: list[_Waiting] = []

    def keep(self, arrived: Arrived) -> bool:
        """Store an instance; false where its sender's caller has another file of this SOP Instance UID.

        The bytes and their rows are as safe as those of any upload when this returns. Raises StorageFull, Unavailable.
        """
        location = self._store.blobs["instances"].settle(arrived.file, arrived.entry.sha256)
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
        with self._store.index.writing() as connection:
            arrival_rows.end(connection, sender, self._store.clock())

    def _commit(self, some: Sequence[_Waiting]) -> None:
        for caller in dict.fromkeys(one.arrived.sender.caller for one in some):
            of_caller = [one for one in some if one.arrived.sender.caller == caller]
            try:
                with _ArrivedBatch(self._store, caller, of_caller) as batch:
                    batch.keep()
            except BaseException as error:
                for one in of_caller:
                    one.error = error
                if not isinstance(error, GatewayError):
                    raise
            finally:
                for one in of_caller:
                    one.done = True


class _ArrivedBatch(InstanceBatch):
    """Settled files of one caller, placed in one transaction."""

    def __init__(self, store: Store, caller: str, waiting: Sequence[_Waiting]) -> None:
        super().__init__(store, caller, [one.arrived.entry for one in waiting])
        self._group = waiting
        for one in waiting:
            entry = one.arrived.entry
            self._settled.setdefault(entry.sha256, (one.arrived.file, one.location))
            if one.arrived.attributes is not None:
                self._attributes[entry.sha256] = one.arrived.attributes

    def keep(self) -> None:
        """Place what is new, hold what is no conflict, and count it for its senders. Raises StorageFull."""
        store = self._store
        with store.index.writing() as connection:
            states = instance_rows.states(connection, self._caller, store.retention.since, self._entries)
            kept: dict[str, ManifestEntry] = {}
            counts: dict[tuple[Sender, str], int] = {}
            for one, (state, _) in zip(self._group, states, strict=True):
                one.conflict = state == "conflict"
                if not one.conflict:
                    entry, sender = one.arrived.entry, one.arrived.sender
                    kept.setdefault(entry.sha256, entry)
                    key = sender, entry.study_instance_uid
                    counts[key] = counts.get(key, 0) + 1
            self._hold(connection, list(kept.values()))
            for (sender, study), count in counts.items():
                arrival_rows.count(connection, sender, study, count, store.clock())
