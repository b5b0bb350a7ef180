"""The number of a study's instances as a peer states it (NumberOfStudyRelatedInstances, PS3.4 C.3.4)."""

import logging
import threading
import time

from gateway.errors import GatewayError
from gateway.peers.peer import PeerQuery
from gateway.peers.peer_directory import PeerDirectory

logger = logging.getLogger("gateway")

COUNT = "00201208"
UNKNOWN = -1
REST = 60.0
"""Seconds without a question to a peer that did not answer: each may wait for its time-out, and studies for it."""
TURN = 1.0
"""Seconds to wait while another study asks the same peer; one that answers does so in some hundredths."""


class StudyCounts:
    """Asks peers for numbers of instances, each for one study at a time: one that is slow holds one thread."""

    def __init__(self, peers: PeerDirectory) -> None:
        self._peers = peers
        self._turns = {name: threading.Lock() for name in peers.entries}
        self._rests: dict[str, float] = {}

    def ask(self, name: str, study: str) -> int:
        """Return the number of a study's instances at a peer; UNKNOWN where it does not say, or not now."""
        if time.monotonic() < self._rests.get(name, 0.0) or not self._turns[name].acquire(timeout=TURN):
            return UNKNOWN
        try:
            return self._asked(name, study)
        except GatewayError as error:
            self._rests[name] = time.monotonic() + REST
            logger.warning("peer %s does not state the number of instances: %s %s", name, error.code, error.private)
            return UNKNOWN
        finally:
            self._turns[name].release()

    def _asked(self, name: str, study: str) -> int:
        query = PeerQuery(filters={"StudyInstanceUID": study}, fields=("NumberOfStudyRelatedInstances",), limit=1)
        for match in self._peers.peer(name).find(query):
            try:
                return int(match[COUNT]["Value"][0])
            except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
                logger.warning("peer %s states no number of instances, or one that is none", name)
        return UNKNOWN
