"""The peers of one process: opened from the operator's file, and observed at each operation."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from gateway.errors import Cancelled, DeadlineExceeded, GatewayError, ParameterRefused, PeerFailed, Unavailable
from gateway.peers.peer import (
    Check,
    FetchLimits,
    FetchTarget,
    InstanceSink,
    Match,
    OutgoingInstance,
    Peer,
    PeerQuery,
    SendReport,
    unchecked,
)
from gateway.peers.peer_entries import NOT_ADMITTED, PeerEntry
from gateway.peers.peers_file import read_peers
from gateway.peers.web_peer import WebPeer

logger = logging.getLogger("gateway")

Observe = Callable[[str, str, str, float], None]
"""Receives the peer's name, the operation, its outcome and its seconds."""
OPERATIONS = ("echo", "find", "fetch", "store")
OUTCOMES = ("ok", "refused", "failed", "unavailable", "stopped")
"""``refused``: a limit of the gateway, no such study, or an unusable instance; ``failed``: the peer answers wrongly;
``unavailable``: it does not answer; ``stopped``: the caller left, or its deadline passed."""


def open_peer(entry: PeerEntry) -> Peer:
    """Return a peer by DICOMweb where its entry has an address for it, else by DIMSE.

    Raises ValueError with a sentence.
    """
    if entry.web is not None:
        return WebPeer(entry)
    try:
        from gateway.peers.dimse_peer import DimsePeer  # pynetdicom, which peers over DICOMweb spare
    except ImportError as error:
        raise ValueError(f"peers.{entry.name}: {error}") from error
    return DimsePeer(entry)


class ObservedPeer:
    """A peer whose operations are counted and timed."""

    def __init__(self, peer: Peer, observe: Observe) -> None:
        self.name = peer.name
        self._peer, self._observe = peer, observe

    def echo(self) -> None:
        """See ``Peer.echo``."""
        with self._observed("echo"):
            self._peer.echo()

    def find(self, query: PeerQuery, check: Check = unchecked) -> Iterator[Match]:
        """See ``Peer.find``; observed once its last match is taken."""
        with self._observed("find"):
            yield from self._peer.find(query, check)

    def fetch(self, target: FetchTarget, sink: InstanceSink, limits: FetchLimits, check: Check = unchecked) -> int:
        """See ``Peer.fetch``."""
        with self._observed("fetch"):
            return self._peer.fetch(target, sink, limits, check)

    def store(
        self, instances: Iterable[OutgoingInstance], check: Check = unchecked, report: SendReport | None = None
    ) -> SendReport:
        """See ``Peer.store``."""
        with self._observed("store"):
            return self._peer.store(instances, check, report)

    def close(self) -> None:
        """See ``Peer.close``."""
        self._peer.close()

    @contextmanager
    def _observed(self, operation: str) -> Iterator[None]:
        began, outcome = time.monotonic(), "stopped"
        try:
            yield
            outcome = "ok"
        except GatewayError as error:
            outcome = outcome_of(error)
            if isinstance(error, PeerFailed | Unavailable):
                logger.warning("peer %s: %s failed: %s %s", self.name, operation, error.code, error.private)
            raise
        finally:
            self._observe(self.name, operation, outcome, time.monotonic() - began)


def outcome_of(error: GatewayError) -> str:
    """Return the word of OUTCOMES for an error."""
    if isinstance(error, Cancelled | DeadlineExceeded):
        return "stopped"
    if isinstance(error, PeerFailed):
        return "failed"
    return "unavailable" if isinstance(error, Unavailable) else "refused"


class PeerDirectory:
    """The peers that the operator names, and which caller may use which."""

    def __init__(self, entries: Mapping[str, PeerEntry], observe: Observe) -> None:
        """Raises ValueError for certificates that cannot be loaded."""
        self.entries = entries
        self._peers = {name: ObservedPeer(open_peer(entry), observe) for name, entry in entries.items()}

    @classmethod
    def open(cls, path: Path, observe: Observe) -> Self:
        """Read the file, and log what in it is not safe. Raises ValueError with a sentence for each fault."""
        directory = cls(read_peers(path), observe)
        for entry in directory.entries.values():
            for sentence in entry.web.warnings if entry.web else ():
                logger.warning("peers.%s: %s", entry.name, sentence)
        return directory

    def peer(self, name: str) -> Peer:
        """Return a peer for the gateway's own use. Raises KeyError."""
        return self._peers[name]

    def known(self, name: str) -> Peer | None:
        """Return a peer for the gateway's own use; None where the file has none of this name."""
        return self._peers.get(name)

    def admitted(self, name: str, caller: str) -> Peer:
        """Return a peer that ``caller`` may use; "" is an anonymous one.

        Raises ParameterRefused, the same for a name that is unknown: names of peers are not for everyone.
        """
        entry = self.entries.get(name)
        if entry is None or not entry.admits(caller):
            raise ParameterRefused([("/from", NOT_ADMITTED)])
        return self._peers[name]

    def close(self) -> None:
        """Close all connections."""
        for peer in self._peers.values():
            peer.close()
