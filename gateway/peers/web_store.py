"""STOW-RS as a client (PS3.18 10.5): files are read while they are sent, and the answer is taken apart by instance."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gateway.config import KiB, MiB
from gateway.errors import PeerFailed
from gateway.peers.peer import Check, OutgoingInstance, RefusedInstance, SendReport, SentInstance
from gateway.peers.web_connection import WebConnection
from gateway.peers.web_retrieve import DICOM_TYPE
from gateway.peers.web_search import first
from gateway.spool.disk import on_disk
from gateway.wire import OutgoingPart, new_boundary, sized

BATCH_BYTES, BATCH_INSTANCES = 128 * MiB, 200
"""Of one request: a server that holds a whole body in memory bears it, and a broken one is repeated soon."""
PIECE = 256 * KiB
SOP, WARNING, REASON = "00081155", "00081196", "00081197"
STORED, FAILED = "00081199", "00081198"
"""ReferencedSOPSequence and FailedSOPSequence (PS3.18 table 10.5.3-1)."""


def store(
    connection: WebConnection, instances: Iterable[OutgoingInstance], check: Check, report: SendReport
) -> SendReport:
    """Send instances in requests of bounded size. See ``Peer.store``."""
    for batch in batches(instances):
        outcome = _send(connection, batch, check)
        report.stored += outcome.stored
        report.refused += outcome.refused
    return report


def batches(instances: Iterable[OutgoingInstance]) -> Iterator[list[OutgoingInstance]]:
    """Yield lists of instances, each within the bounds of one request or of a single instance."""
    batch: list[OutgoingInstance] = []
    size = 0
    for instance in instances:
        if batch and (len(batch) >= BATCH_INSTANCES or size + instance.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(instance)
        size += instance.size
    if batch:
        yield batch


def _send(connection: WebConnection, batch: Sequence[OutgoingInstance], check: Check) -> SendReport:
    boundary = new_boundary()
    length, pieces = sized(boundary, [_part(instance, check) for instance in batch])
    headers = {
        "Content-Type": f'multipart/related; type="{DICOM_TYPE}"; boundary={boundary}',
        "Content-Length": str(length),
        "Accept": "application/dicom+json",
    }
    path = f"{connection.address.stow}/studies"
    with connection.post(path, headers, pieces, check, (200, 202, 409)) as response:
        answer = connection.json(response, check)
        if answer is None and response.status == 409:
            answer = {}  # none was stored, and no reason is given
    if not isinstance(answer, dict):
        raise PeerFailed(f"The peer {connection.name} does not report which instances it stored (PS3.18 10.5.3).")
    return report_of(answer, [instance.sop_instance_uid for instance in batch])


def report_of(answer: Mapping[str, Any], sent: Sequence[str]) -> SendReport:
    """Return what an answer reports of the ``sent`` instances: each once, in their order, and no other."""
    stored = {first(item, SOP): _number(item, WARNING) for item in _items(answer, STORED)}
    failed = {first(item, SOP): _number(item, REASON) for item in _items(answer, FAILED)}
    report = SendReport()
    for uid in sent:
        if uid in stored and uid not in failed:
            report.stored.append(SentInstance(uid, stored[uid]))
        else:
            report.refused.append(RefusedInstance(uid, failed.get(uid, 0)))
    return report


def _items(answer: Mapping[str, Any], tag: str) -> Iterator[dict[str, Any]]:
    """Yield the items of a sequence that have the form of PS3.18 F."""
    element = answer.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    for item in values if isinstance(values, list) else ():
        if isinstance(item, dict) and all(isinstance(each, dict) for each in item.values()):
            yield item


def _number(item: dict[str, Any], tag: str) -> int:
    text = first(item, tag)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0  # US (PS3.5 6.2)


def _part(instance: OutgoingInstance, check: Check) -> OutgoingPart:
    return OutgoingPart((("Content-Type", DICOM_TYPE),), instance.size, _chunks(instance, check))


def _chunks(instance: OutgoingInstance, check: Check) -> Iterator[bytes]:
    """Yield the bytes of a file, open only meanwhile. Raises Unavailable where it cannot be read or has changed."""
    with on_disk("study"), instance.open() as file:
        left = instance.size
        while left:
            check()
            if not (piece := file.read(min(PIECE, left))):
                raise OSError("the file has become shorter")
            left -= len(piece)
            yield piece
