"""The peers that instances are moved and reports are sent to: those of the operator's file, by AE title."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.peers.dimse_report import ReportTarget
from gateway.peers.dimse_store import StoreAnswer, store_each
from gateway.peers.peer import Check, OutgoingInstance
from gateway.peers.peer_entries import DimseAddress
from gateway.peers.peers_file import read_peers


class Destinations:
    """The DICOM network addresses of the file, by AE title; the first of several peers with one title counts."""

    def __init__(self, path: Path | None) -> None:
        """Raises ValueError with a sentence for each fault of the file."""
        self._known: dict[str, tuple[str, DimseAddress]] = {}
        for name, entry in (read_peers(path) if path is not None else {}).items():
            if entry.dimse is not None:
                self._known.setdefault(entry.dimse.aet, (name, entry.dimse))

    def __contains__(self, title: str) -> bool:
        return title in self._known

    def report_target(self, title: str) -> ReportTarget | None:
        """Return where to report storage commitments of an AE title to; None for one that is not in the file."""
        found = self._known.get(title)
        return None if found is None else ReportTarget(*found)

    def send(
        self, title: str, instances: Iterable[OutgoingInstance], check: Check, originator: tuple[str, int]
    ) -> Iterator[StoreAnswer]:
        """Send instances to an AE title of the file, for a C-MOVE of ``originator``; the status of each.

        Raises PeerFailed, Unavailable, and what ``check`` raises.
        """
        name, address = self._known[title]
        return store_each(name, address, instances, check, originator)
