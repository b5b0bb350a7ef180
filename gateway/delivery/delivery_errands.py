"""Deliveries to peers as errands: which are due, and what becomes of each by a try."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from gateway.delivery.outcome_words import TRY_WORDS
from gateway.delivery.pauses import pause
from gateway.delivery.send_attempt import SendAttempt, failure_of
from gateway.delivery.send_outcomes import STORED
from gateway.errors import Cancelled, PeerFailed, StudyNotFound, Unavailable
from gateway.peers.peer import Peer
from gateway.studies import delivery_rows
from gateway.studies.delivery_rows import Delivery, DeliveryInstance, DeliveryState
from gateway.studies.store import Store

logger = logging.getLogger("gateway")

UNFINISHED, NO_PEER = "unfinished", "no-such-peer"
"""Outcomes: the process ended within the last try; the operator's file has no peer of this name."""


class TryReport(Protocol):
    """Receives what became of a delivery by a try: ``delivered``, ``retried`` or ``dead``."""

    def __call__(self, delivery: Delivery, word: str, outcome: str, instances: int) -> None:
        """``instances`` are those that the peer has now."""


@dataclass(frozen=True)
class DeliveryErrands:
    """The ``Errands`` of deliveries; a receiver is a peer. ``peer_of`` returns None for a name without one."""

    store: Store
    peer_of: Callable[[str], Peer | None]
    tries: int
    longest_pause: float
    report: TryReport

    name = "delivery"

    def due_at(self, connection: Connection) -> float | None:
        """See ``Errands``."""
        return delivery_rows.due_at(connection)

    def claim(self, connection: Connection, now: float, lease: float, busy: Collection[str]) -> Delivery | None:
        """See ``Errands``."""
        return delivery_rows.claim(connection, now, lease, busy)

    def renew(self, connection: Connection, item: Delivery, ends: float, until: float) -> None:
        """See ``Errands``."""
        delivery_rows.renew(connection, item, ends, until)

    def receiver(self, item: Delivery) -> str:
        """See ``Errands``."""
        return item.destination

    def attempt(self, item: Delivery, stopped: Callable[[], bool]) -> None:
        """See ``Errands``."""
        try:
            failure, wait = self._tried(item, stopped)
        except Cancelled:
            self._give_back(item)
            return
        last = item.tries >= self.tries or failure == NO_PEER
        self._settle(item, failure, None if last else pause(item.tries, self.longest_pause, wait))

    def _tried(self, item: Delivery, stopped: Callable[[], bool]) -> tuple[str, float]:
        """Try once; return why it ended early, "" where it did not, and the seconds that the peer wants to wait."""
        peer = self.peer_of(item.destination)
        if peer is None:
            return NO_PEER, 0.0
        if item.tries > self.tries:  # the last one ended its process
            return UNFINISHED, 0.0
        try:
            SendAttempt(self.store, item, peer, stopped).run()
        except (PeerFailed, Unavailable, StudyNotFound) as error:
            return failure_of(error)
        return "", 0.0

    def _give_back(self, item: Delivery) -> None:
        with self.store.index.writing() as connection:
            delivery_rows.give_back(connection, item, self.store.clock())

    def _settle(self, item: Delivery, failure: str, seconds: float | None) -> None:
        now = self.store.clock()
        with self.store.index.writing() as connection:
            instances = delivery_rows.instances_of(connection, item.id)
            outcome = failure or outcome_of(instances)
            state = delivery_rows.settle(connection, item, outcome, now, None if seconds is None else now + seconds)
            if failure != delivery_rows.UNAVAILABLE:
                delivery_rows.hasten(connection, item.destination, now)
        if state is None:
            return
        there, word = sum(each.state is DeliveryState.DELIVERED for each in instances), TRY_WORDS[state]
        level = logging.INFO if state is DeliveryState.DELIVERED else logging.WARNING
        text = "delivery %s: %s to %s after try %d: %s, %d of %d instances are there"
        values = item.id, item.destination, item.tries, outcome, there, len(instances)
        logger.log(level, text, word, *values)
        self.report(item, word, outcome, there)


def outcome_of(instances: Collection[DeliveryInstance]) -> str:
    """Return the outcome of a delivery by those of its instances: what waits comes before what is dead."""
    for state in (DeliveryState.PENDING, DeliveryState.DEAD):
        for each in instances:
            if each.state is state:
                return each.outcome
    return STORED
