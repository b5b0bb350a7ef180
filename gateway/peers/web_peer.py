"""A peer over DICOMweb (PS3.18)."""

from collections.abc import Iterable, Iterator

from gateway.peers import web_retrieve, web_search, web_store
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
from gateway.peers.web_connection import WebConnection


class WebPeer:
    """A ``Peer`` by QIDO-RS, WADO-RS and STOW-RS."""

    def __init__(self, entry: PeerEntry) -> None:
        """``entry`` has a DICOMweb address. Raises ValueError for certificates that cannot be loaded."""
        assert entry.web is not None
        self.name = entry.name
        self._connection = WebConnection(entry.name, entry.web, entry.connections)

    def echo(self) -> None:
        """See ``Peer.echo``."""
        web_search.echo(self._connection)

    def find(self, query: PeerQuery, check: Check = unchecked) -> Iterator[Match]:
        """See ``Peer.find``."""
        return web_search.search(self._connection, query, check)

    def fetch(self, target: FetchTarget, sink: InstanceSink, limits: FetchLimits, check: Check = unchecked) -> int:
        """See ``Peer.fetch``."""
        return web_retrieve.retrieve(self._connection, target, sink, limits, check)

    def store(
        self, instances: Iterable[OutgoingInstance], check: Check = unchecked, report: SendReport | None = None
    ) -> SendReport:
        """See ``Peer.store``."""
        return web_store.store(self._connection, instances, check, report or SendReport())

    def close(self) -> None:
        """See ``Peer.close``."""
        self._connection.close()
