"""The data sets of storage commitment (PS3.4 J.3)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pydicom import Dataset

from gateway.dicom.reading.files import refusing
from gateway.dicom.web.identifiers import BROKEN, read_data_set
from gateway.errors import StudyRefused

MAX_REFERENCES = 50_000
"""Instances of one request; the largest studies have ten thousand."""


class CommitmentRequest(NamedTuple):
    """A transaction, and pairs of the UIDs of SOP class and instance."""

    transaction_uid: str
    instances: tuple[tuple[str, str], ...]


def read_commitment(data: bytes, transfer_syntax: str) -> CommitmentRequest:
    """Read the data set of an N-ACTION-RQ. Raises StudyRefused."""
    with refusing(BROKEN):
        dataset = read_data_set(data, transfer_syntax)
        items = dataset.get("ReferencedSOPSequence") or []
        if not items or len(items) > MAX_REFERENCES:
            raise StudyRefused(f"A request for storage commitment names 1 to {MAX_REFERENCES} instances.")
        pairs = ((str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)) for item in items)
        return CommitmentRequest(str(dataset.TransactionUID), tuple(pairs))


def commitment_report(
    transaction_uid: str, stored: Sequence[tuple[str, str]], failed: Iterable[tuple[str, str, int]]
) -> Dataset:
    """Return the data set of an N-EVENT-REPORT; those that failed have their reasons (PS3.3 C.14)."""
    report = Dataset()
    report.TransactionUID = transaction_uid
    if stored:
        report.ReferencedSOPSequence = [_reference(*pair) for pair in stored]
    failures = []
    for sop_class, sop, reason in failed:
        item = _reference(sop_class, sop)
        item.FailureReason = reason
        failures.append(item)
    if failures:
        report.FailedSOPSequence = failures
    return report


def _reference(sop_class: str, sop_instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item
