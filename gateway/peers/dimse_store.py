"""C-STORE as a client: files are sent as they are stored, by the presentation contexts that they need (PS3.4 B)."""

import io
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import BinaryIO, NamedTuple

from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from gateway.dicom.reading.file_heads import FileHead, read_file_head
from gateway.dicom.web.transcoding import implicit_little_endian
from gateway.errors import StudyRefused
from gateway.peers.dimse_association import NothingAccepted, associated, lost
from gateway.peers.peer import Check, OutgoingInstance, RefusedInstance, SendReport, SentInstance
from gateway.peers.peer_entries import DimseAddress

MAX_CONTEXTS = 128
"""Presentation contexts of one association: their ids are odd numbers of one byte (PS3.8 9.3.2.2)."""
KINDS = MAX_CONTEXTS // 2
"""Pairs of class and transfer syntax of one association: one in Explicit VR Little Endian takes two contexts, since the
default transfer syntax is offered with it (PS3.5 10.1)."""
AT_ONCE = 1_000
"""Instances of one association; their heads are read before it is requested."""
UNREADABLE, NO_CONTEXT = 0xC000, 0x0122
"""Counted for a file that cannot be read, and for one whose class or transfer syntax the peer does not accept."""
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


class StoreAnswer(NamedTuple):
    """The status of one instance (PS3.4 B.2.3)."""

    sop_instance_uid: str
    status: int

    @property
    def stored(self) -> bool:
        """Return True for success and for warnings."""
        return self.status == 0 or self.status >> 12 == 0xB


def store(
    name: str, address: DimseAddress, instances: Iterable[OutgoingInstance], check: Check, report: SendReport
) -> SendReport:
    """Send instances. See ``Peer.store``."""
    for answer in store_each(name, address, instances, check):
        if answer.stored:
            report.stored.append(SentInstance(answer.sop_instance_uid, answer.status))
        else:
            report.refused.append(RefusedInstance(answer.sop_instance_uid, answer.status))
    return report


def store_each(
    name: str,
    address: DimseAddress,
    instances: Iterable[OutgoingInstance],
    check: Check,
    originator: tuple[str, int] | None = None,
) -> Iterator[StoreAnswer]:
    """Send instances, and yield the status of each; ``originator`` is the AE title and message of a C-MOVE.

    Raises PeerFailed, Unavailable, and what ``check`` raises.
    """
    remaining = iter(instances)
    while some := list(islice(remaining, AT_ONCE)):
        heads = [_head(instance) for instance in some]
        kinds = dict.fromkeys((head.sop_class_uid, head.transfer_syntax_uid) for head in heads if head is not None)
        known = list(zip(some, heads, strict=True))
        while kinds:
            proposed = dict.fromkeys(islice(kinds, KINDS))
            kinds = dict.fromkeys(islice(kinds, KINDS, None))
            of_these = [
                (number, instance, head)
                for number, (instance, head) in enumerate(known, 1)
                if head is not None and (head.sop_class_uid, head.transfer_syntax_uid) in proposed
            ]
            try:
                with associated(name, address, _contexts(proposed)) as association:
                    for number, instance, head in of_these:
                        check()
                        yield _send(name, association, instance, head, (number & 0xFFFF, originator))
            except NothingAccepted:
                for _, instance, _ in of_these:
                    yield StoreAnswer(instance.sop_instance_uid, NO_CONTEXT)
        for instance, unread in known:
            if unread is None:
                yield StoreAnswer(instance.sop_instance_uid, UNREADABLE)


def _contexts(kinds: Iterable[tuple[str, str]]) -> list[PresentationContext]:
    """Return a context for each pair of class and transfer syntax, and those of the default one, without repetition."""
    offered = dict.fromkeys(kinds)
    offered |= {(sop_class, IMPLICIT): None for sop_class, syntax in [*offered] if syntax == EXPLICIT}
    return [build_context(*kind) for kind in offered]


def _head(instance: OutgoingInstance) -> FileHead | None:
    try:
        with instance.open() as file:
            return read_file_head(file)
    except StudyRefused:
        return None


def _send(
    name: str,
    association: Association,
    instance: OutgoingInstance,
    head: FileHead,
    message: tuple[int, tuple[str, int] | None],
) -> StoreAnswer:
    number, originator = message
    title, original = originator or (None, None)
    accepted = {(context.abstract_syntax, context.transfer_syntax[0]) for context in association.accepted_contexts}
    kept = (head.sop_class_uid, head.transfer_syntax_uid) in accepted
    if not kept and not (head.transfer_syntax_uid == EXPLICIT and (head.sop_class_uid, IMPLICIT) in accepted):
        return StoreAnswer(instance.sop_instance_uid, NO_CONTEXT)
    try:
        opened = instance.open() if kept else io.BytesIO(_without_vrs(instance))
    except StudyRefused:
        return StoreAnswer(instance.sop_instance_uid, UNREADABLE)
    with opened as file, _descriptor(file) as descriptor:
        path = f"/proc/self/fd/{descriptor}"  # pynetdicom opens files by their paths
        answer = association.send_c_store(path, number, originator_aet=title, originator_id=original)
    if "Status" not in answer:
        raise lost(name)
    return StoreAnswer(instance.sop_instance_uid, int(answer.Status))


@contextmanager
def _descriptor(file: BinaryIO) -> Iterator[int]:
    """The descriptor of a file, or of a copy in memory of one that has none."""
    try:
        yield file.fileno()
        return
    except io.UnsupportedOperation:
        pass
    copy = os.memfd_create("instance")
    with os.fdopen(copy, "wb") as written:
        shutil.copyfileobj(file, written)
        written.flush()
        yield copy


def _without_vrs(instance: OutgoingInstance) -> bytes:
    """Return a file in the default transfer syntax, for a peer that accepts no other. Raises StudyRefused."""
    with instance.open() as file:
        return implicit_little_endian(file)
