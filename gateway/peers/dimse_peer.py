"""A peer over the DICOM network (PS3.7)."""

from collections.abc import Iterable, Iterator

from gateway.peers import dimse_fetch, dimse_query, dimse_store
from gateway.peers.peer import (
    Check,
    FetchLimits,
    FetchTarget,
    InstanceSink,
    Match,
    OutgoingInstance,
    PeerQuery,
    SendReport,
    unchecked,
)
from gateway.peers.peer_entries import PeerEntry


class DimsePeer:
    """A ``Peer`` by C-FIND, C-GET and C-STORE; each verb has an association of its own."""

    def __init__(self, entry: PeerEntry) -> None:
        """``entry`` has a DIMSE address."""
        assert entry.dimse is not None
        self.name, self._address = entry.name, entry.dimse

    def echo(self) -> None:
        """See ``Peer.echo``."""
        dimse_query.echo(self.name, self._address)

    def find(self, query: PeerQuery, check: Check = unchecked) -> Iterator[Match]:
        """See ``Peer.find``."""
        return dimse_query.find(self.name, self._address, query, check)

    def fetch(self, target: FetchTarget, sink: InstanceSink, limits: FetchLimits, check: Check = unchecked) -> int:
        """See ``Peer.fetch``."""
        return dimse_fetch.fetch(self.name, self._address, target, sink, limits, check)

    def store(
        self, instances: Iterable[OutgoingInstance], check: Check = unchecked, report: SendReport | None = None
    ) -> SendReport:
        """See ``Peer.store``."""
        return dimse_store.store(self.name, self._address, instances, check, report or SendReport())

    def close(self) -> None:
        """See ``Peer.close``: no association outlives its verb."""
