"""What becomes of an instance by what a peer says of it: delivered, tried again, or dead at once."""

from collections.abc import Mapping

from gateway.peers.peer import SendReport
from gateway.studies.delivery_rows import DeliveryState

STORED, PRESENT, GONE = "stored", "present", "instance-gone"
NOT_NAMED = "not-named"
"""The peer's answer does not say what became of the instance."""

ALREADY_THERE = (0x0111, 0xB00E)
"""Reasons of peers that have an instance of this UID: "Duplicate SOP Instance" (PS3.7 C.5), and 45070 of Azure's
DICOM service."""
FAILED = 0x0110
"""Processing failure (PS3.7 C.5): some archives answer so for an instance that they have."""
FINAL = (0x0117, 0x0118, 0x0119, 0x0122, 0x0124, 0xC122)
"""An invalid instance, a class that is unknown, another than the instance's, or not supported, no authorization
(PS3.7 C), and a transfer syntax that is not supported (PS3.18 I.2): another try has the same end."""
FINAL_RANGES = (0xA9, *range(0xC0, 0xD0))
"""First bytes of "data set does not match SOP class" and of "cannot understand" (PS3.4 B.2.3)."""

OF_INSTANCES = tuple(f"status-{status}" for status in (400, 413, 415, 422, 500))
"""Answers to a request as a whole that one instance of it may have caused."""
FINAL_STATUSES = tuple(f"status-{status}" for status in (400, 413, 415, 422))
"""Those of them that are final for a request of one instance."""

InstanceOutcome = tuple[DeliveryState, str]


def outcome_of_reason(reason: int) -> InstanceOutcome:
    """Return what becomes of an instance that a peer did not store, by its failure reason (PS3.7 C, PS3.18 I.2)."""
    if reason in ALREADY_THERE:
        return DeliveryState.DELIVERED, PRESENT
    word = f"refused-{reason:04X}" if reason else NOT_NAMED
    final = reason in FINAL or reason >> 8 in FINAL_RANGES
    return DeliveryState.DEAD if final else DeliveryState.PENDING, word


def outcome_of_status(word: str) -> InstanceOutcome:
    """Return what becomes of an instance whose request of its own was answered with a status of OF_INSTANCES."""
    return DeliveryState.DEAD if word in FINAL_STATUSES else DeliveryState.PENDING, word


def outcomes_of(report: SendReport) -> Mapping[str, InstanceOutcome]:
    """Return what became of each instance of a report; a warning counts as stored (PS3.4 B.2.3)."""
    stored = {each.sop_instance_uid: (DeliveryState.DELIVERED, STORED) for each in report.stored}
    return stored | {each.sop_instance_uid: outcome_of_reason(each.reason) for each in report.refused}
