"""N-EVENT-REPORT of storage commitment, to the peer that requested it (PS3.4 J.3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

from pynetdicom.presentation import build_context, build_role

from gateway.dicom.web.commitment_data import commitment_report
from gateway.errors import PeerFailed
from gateway.peers.dimse_association import associated, lost
from gateway.peers.peer_entries import DimseAddress

PUSH_MODEL, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
COMPLETE, FAILURES_EXIST = 1, 2
"""Event Type IDs (PS3.4 J.3.3.1)."""


@dataclass(frozen=True)
class ReportTarget:
    """A peer that receives reports."""

    name: str
    address: DimseAddress

    def report(
        self, transaction_uid: str, stored: Sequence[tuple[str, str]], failed: Sequence[tuple[str, str, int]]
    ) -> None:
        """Send a report. Raises PeerFailed, Unavailable."""
        role = build_role(PUSH_MODEL, scp_role=True)
        with associated(self.name, self.address, [build_context(PUSH_MODEL)], roles=[role]) as association:
            dataset = commitment_report(transaction_uid, stored, failed)
            event = FAILURES_EXIST if failed else COMPLETE
            answer, _ = association.send_n_event_report(dataset, event, PUSH_MODEL, WELL_KNOWN)
        if "Status" not in answer:
            raise lost(self.name)
        if answer.Status != 0:
            private = f"peer {self.name}: N-EVENT-REPORT ended with {answer.Status:04X}"
            raise PeerFailed(f"The peer {self.name} does not take reports of storage commitment.", private=private)
