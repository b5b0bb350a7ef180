"""C-GET as a client: the peer sends the instances back on the same association (PS3.4 C.4.3)."""

from collections.abc import Sequence
from typing import Any

from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context, build_role

from gateway.dicom.web.identifiers import query_identifier
from gateway.errors import LimitExceeded, PeerFailed, StudyNotFound
from gateway.peers.dimse_association import associated, lost
from gateway.peers.dimse_query import PENDING, find
from gateway.peers.dimse_store import EXPLICIT, IMPLICIT, MAX_CONTEXTS
from gateway.peers.peer import Check, FetchLimits, FetchTarget, InstanceSink, PeerQuery
from gateway.peers.peer_entries import DimseAddress

STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
DICOM_TYPE = "application/dicom"
SYNTAXES = (
    EXPLICIT,
    IMPLICIT,
    *(f"1.2.840.10008.1.2.4.{end}" for end in ("50", "51", "57", "70", "80", "81", "90", "91", "201", "202", "203")),
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.1.99",
)
"""Transfer syntaxes that are proposed, each in a context of its own, so that an instance comes as it is stored."""
NO_ROOM = 0xA700


class _Receiver:
    """Passes what the peer sends to a sink; the first error ends the transfer."""

    def __init__(self, sink: InstanceSink, limits: FetchLimits) -> None:
        self._sink, self._limits = sink, limits
        self._size = 0
        self.count = 0
        self.error: BaseException | None = None

    def store(self, event: evt.Event) -> int:
        """Take one instance: its status. It raises nothing, since pynetdicom would answer in its place."""
        if self.error is None:
            try:
                self._take(event.encoded_dataset())
            except BaseException as error:
                self.error = error
        return 0 if self.error is None else NO_ROOM

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limits.max_bytes:
            raise LimitExceeded("max_body_bytes", self._limits.max_bytes, what="The study")
        if self.count >= self._limits.max_instances:
            raise LimitExceeded("max_study_files", self._limits.max_instances, "files", what="The study")
        self._sink.begin_part(DICOM_TYPE)
        self._sink.write(data)
        self._sink.end()
        self.count += 1


def fetch(
    name: str, address: DimseAddress, target: FetchTarget, sink: InstanceSink, limits: FetchLimits, check: Check
) -> int:
    """Pass the instances of ``target`` to ``sink``, and return how many. See ``Peer.fetch``."""
    classes = sop_classes(name, address, target, limits, check)
    receiver = _Receiver(sink, limits)
    roles = [build_role(sop_class, scp_role=True) for sop_class in classes]
    contexts = [build_context(STUDY_GET), *_contexts(classes)]
    with associated(name, address, contexts, roles=roles, on_store=receiver.store) as association:
        for answer, _ in association.send_c_get(_identifier(target), STUDY_GET):
            check()
            if receiver.error is not None:
                raise receiver.error
            if "Status" not in answer:
                raise lost(name)
            if answer.Status not in PENDING:
                _judge(name, answer)
    return receiver.count


def sop_classes(name: str, address: DimseAddress, target: FetchTarget, limits: FetchLimits, check: Check) -> list[str]:
    """Return the SOP classes of the instances of a target, which contexts are proposed for.

    Raises StudyNotFound where there is none, LimitExceeded.
    """
    filters = {"SOPInstanceUID": target.instance} if target.instance else {}
    query = PeerQuery("instance", target.study, target.series, filters, limit=limits.max_instances + 1)
    classes, count = dict[str, None](), 0
    for match in find(name, address, query, check):
        classes[_value(match, "00080016")] = None
        count += 1
    if not count:
        raise StudyNotFound(f"The peer {name} has no such study, series or instance.")
    if count > limits.max_instances:
        raise LimitExceeded("max_study_files", limits.max_instances, "files", what="The study")
    return [uid for uid in classes if uid]


def _contexts(classes: Sequence[str]) -> list[PresentationContext]:
    """One context for each class and transfer syntax, or where these are too many, one for each class."""
    if len(classes) * len(SYNTAXES) < MAX_CONTEXTS:
        return [build_context(sop_class, syntax) for sop_class in classes for syntax in SYNTAXES]
    return [build_context(sop_class, [EXPLICIT, IMPLICIT]) for sop_class in classes[: MAX_CONTEXTS - 1]]


def _identifier(target: FetchTarget) -> Any:
    keys = {"StudyInstanceUID": target.study, "SeriesInstanceUID": target.series, "SOPInstanceUID": target.instance}
    level = "IMAGE" if target.instance else "SERIES" if target.series else "STUDY"
    return query_identifier(level, {keyword: uid for keyword, uid in keys.items() if uid})


def _judge(name: str, answer: Any) -> None:
    """Raise PeerFailed unless all of it was sent."""
    failed = answer.get("NumberOfFailedSuboperations") or 0
    if answer.Status == 0 and not failed:
        return
    private = f"peer {name}: C-GET ended with {answer.Status:04X}, {failed} instances failed"
    raise PeerFailed(f"The peer {name} did not send all of the study.", private=private)


def _value(match: Any, tag: str) -> str:
    return "".join(map(str, match.get(tag, {}).get("Value", [])[:1]))
