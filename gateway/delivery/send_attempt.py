"""One try to send a delivery to its peer: what is pending still, with the outcome of each instance recorded as it is
known, so that a try that breaks off, or whose process is killed, repeats no more than it must.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import BinaryIO

from gateway.delivery.send_outcomes import (
    FAILED,
    GONE,
    OF_INSTANCES,
    PRESENT,
    InstanceOutcome,
    outcome_of_status,
    outcomes_of,
)
from gateway.errors import Cancelled, GatewayError, PeerFailed, StudyNotFound, Unavailable
from gateway.peers.peer import OutgoingInstance, Peer, PeerQuery, SendReport
from gateway.peers.web_connection import RETRY_SECONDS
from gateway.peers.web_store import batches
from gateway.studies import delivery_rows, instance_rows
from gateway.studies.delivery_rows import Delivery, DeliveryState
from gateway.studies.instance_rows import HeldInstance
from gateway.studies.store import Store
from gateway.studies.tables import instances as table

MOST_SECONDS = 3_600.0
"""Seconds of one try: a gigabyte takes them at 2 Mbit/s. A peer that answers a byte now and then is left there."""


class SendAttempt:
    """One try. ``stopped`` returns True once the process stops."""

    def __init__(self, store: Store, delivery: Delivery, peer: Peer, stopped: Callable[[], bool]) -> None:
        self._store, self._delivery, self._peer, self._stopped = store, delivery, peer, stopped
        self._until = time.monotonic() + MOST_SECONDS
        self._held: dict[str, HeldInstance] = {}

    def run(self) -> None:
        """Send what is pending.

        Raises PeerFailed and Unavailable where the peer takes nothing now, StudyNotFound where a stored file has
        changed, and Cancelled where the process stops, or another one has begun a try.
        """
        for batch in batches(self._outgoing()):
            self._send(batch)

    def _outgoing(self) -> Sequence[OutgoingInstance]:
        """Return what is pending; what is not in the store any more is dead."""
        with self._store.index.reading() as connection:
            waiting = [
                each
                for each in delivery_rows.instances_of(connection, self._delivery.id)
                if each.state is DeliveryState.PENDING
            ]
            digests = [each.sha256 for each in waiting]
            held = instance_rows.held_in(connection, self._delivery.caller, 0.0, table.c.sha256, digests)
        self._held = {instance.sop_instance_uid: instance for instance in held}
        gone = {each.sop_instance_uid for each in waiting} - self._held.keys()
        if gone:
            self._record(dict.fromkeys(gone, (DeliveryState.DEAD, GONE)))
        return [
            OutgoingInstance(uid, instance.size, partial(self._opened, instance))
            for uid, instance in self._held.items()
        ]

    def _opened(self, instance: HeldInstance) -> BinaryIO:
        try:
            return self._store.open_instances([instance], unchanged=True)[0]
        except StudyNotFound:
            self._record({instance.sop_instance_uid: (DeliveryState.DEAD, GONE)})
            raise

    def _send(self, batch: Sequence[OutgoingInstance]) -> None:
        """Send a batch; one that is refused as a whole is taken apart, since one instance may be the cause."""
        report = SendReport()
        try:
            self._peer.store(batch, self._check, report)
        except PeerFailed as error:
            if error.outcome not in OF_INSTANCES:
                raise
            if len(batch) == 1:
                self._record({batch[0].sop_instance_uid: outcome_of_status(error.outcome)})
            else:
                for instance in batch:
                    self._send([instance])
        finally:
            self._record({**outcomes_of(report), **self._present(report)})

    def _present(self, report: SendReport) -> Mapping[str, InstanceOutcome]:
        """Return those instances of a report that failed for no stated reason, and that the peer has."""
        doubtful = [each.sop_instance_uid for each in report.refused if each.reason == FAILED]
        return {uid: (DeliveryState.DELIVERED, PRESENT) for uid in doubtful if self._is_there(self._held[uid])}

    def _is_there(self, instance: HeldInstance) -> bool:
        filters, above = {"SOPInstanceUID": instance.sop_instance_uid}, instance.series_instance_uid
        query = PeerQuery("instance", instance.study_instance_uid, above, filters, limit=1)
        try:
            return any(
                instance.sop_instance_uid in match.get("00080018", {}).get("Value", [])
                for match in self._peer.find(query, self._check)
            )
        except (PeerFailed, Unavailable, StudyNotFound):
            return False

    def _check(self) -> None:
        if self._stopped():
            raise Cancelled
        if time.monotonic() > self._until:
            raise Unavailable("The delivery takes too long.", private=f"a try of {MOST_SECONDS:g} seconds")

    def _record(self, outcomes: Mapping[str, InstanceOutcome]) -> None:
        if not outcomes:
            return
        with self._store.index.writing() as connection:
            mine = delivery_rows.record(connection, self._delivery, outcomes)
        if not mine:
            raise Cancelled


def failure_of(error: GatewayError) -> tuple[str, float]:
    """Return the outcome of a try that an error of SendAttempt ended, and the seconds that the peer wants to wait."""
    if isinstance(error, PeerFailed):
        return error.outcome, 0.0
    if isinstance(error, Unavailable):  # without a time of the peer's, its error has the default
        wait = error.retry_after if error.retry_after > RETRY_SECONDS else 0
        return delivery_rows.UNAVAILABLE, float(wait)
    return GONE, 0.0
