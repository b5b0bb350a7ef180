"""The number of a study's instances as a peer states it (NumberOfStudyRelatedInstances, PS3.4 C.3.4)."""

import logging

from gateway.errors import GatewayError
from gateway.peers.peer import PeerQuery
from gateway.peers.peer_directory import PeerDirectory

logger = logging.getLogger("gateway")

COUNT = "00201208"


def stated_count(peers: PeerDirectory, name: str, study: str) -> int:
    """Ask a peer by C-FIND or QIDO-RS; -1 where it does not answer, or does not say."""
    query = PeerQuery(filters={"StudyInstanceUID": study}, fields=("NumberOfStudyRelatedInstances",), limit=1)
    try:
        for match in peers.peer(name).find(query):
            for value in match.get(COUNT, {}).get("Value") or ():
                return int(value)
    except GatewayError as error:
        logger.warning("peer %s does not state the number of instances: %s %s", name, error.code, error.private)
    except (TypeError, ValueError):
        logger.warning("peer %s states a number of instances that is none", name)
    return -1
