"""Negotiation of an association: its request, and the accepted presentation contexts (PS3.8 7.1, PS3.7 D.3)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from gateway.dimse.known_titles import KnownTitle
from gateway.dimse.upper_layer import AbortReason, ConnectionEnded
from gateway.extras import hint

try:
    from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID
    from pynetdicom import sop_class as sop_classes
    from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
    from pynetdicom.pdu_primitives import (
        A_ASSOCIATE,
        ImplementationClassUIDNotification,
        MaximumLengthNotification,
        SCP_SCU_RoleSelectionNegotiation,
    )
    from pynetdicom.presentation import PresentationContext
    from pynetdicom.sop_class import uid_to_service_class
except ImportError as error:
    raise ImportError(f"The DICOM network needs pynetdicom; {hint('dimse')}") from error

VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
IMPLICIT, EXPLICIT, BIG_ENDIAN = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2"))
SERVICES = {VERIFICATION: "", COMMITMENT: "store", STUDY_FIND: "find", STUDY_MOVE: "move", STUDY_GET: "get"}
"""The abstract syntaxes beside storage, and the right that each takes."""
PLAIN = (EXPLICIT, IMPLICIT)
"""Transfer syntaxes of queries and of other data sets that the gateway itself reads and writes."""
SMALLEST_PDU = 128
"""Bytes that a peer must be able to receive; each PDU has 12 of its own."""
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"


class ContextResult(Enum):
    """Results of a presentation context (PS3.8 table 9-18)."""

    ACCEPTED = 0
    USER_REJECTION = 1
    ABSTRACT_SYNTAX = 3
    TRANSFER_SYNTAX = 4


class Rejection(NamedTuple):
    """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4), and a word for log and metrics."""

    result: int
    source: int
    reason: int
    why: str


UNKNOWN_CALLING = Rejection(1, 1, 3, "unknown-calling-title")
UNKNOWN_CALLED = Rejection(1, 1, 7, "unknown-called-title")
TOO_MANY = Rejection(2, 3, 2, "too-many-associations")
CONGESTED = Rejection(2, 3, 1, "unavailable")
PROTOCOL = Rejection(1, 2, 2, "protocol-version")


class AcceptedContext(NamedTuple):
    """A presentation context; ``retrieves`` is True where the peer receives instances by it (role SCP)."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    retrieves: bool


@dataclass
class AssociateRequest:
    """An A-ASSOCIATE-RQ."""

    primitive: Any
    protocol: int
    calling: str
    called: str
    max_pdu: int
    roles: dict[str, tuple[bool, bool]] = field(default_factory=dict)


def read_request(data: bytes) -> AssociateRequest:
    """Read the PDU. Raises ConnectionEnded for bytes that are none, and for a peer that takes no PDU of use."""
    pdu = A_ASSOCIATE_RQ()
    try:
        pdu.decode(data)
        primitive = pdu.to_primitive()
        max_pdu = primitive.maximum_length_received or 0
        calling, called = str(primitive.calling_ae_title).strip(), str(primitive.called_ae_title).strip()
        contexts = primitive.presentation_context_definition_list
        if not contexts or not all(one.context_id and one.transfer_syntax and one.abstract_syntax for one in contexts):
            raise ValueError("a presentation context lacks something")
    except Exception as error:  # the decoder of pynetdicom raises many for hostile bytes
        raise ConnectionEnded("invalid-request", AbortReason.PARAMETER_INVALID) from error
    if 0 < max_pdu < SMALLEST_PDU:
        raise ConnectionEnded("invalid-request", AbortReason.PARAMETER_INVALID)
    roles = {
        str(item.sop_class_uid): (bool(item.scu_role), bool(item.scp_role))
        for item in primitive.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
    }
    return AssociateRequest(primitive, pdu.protocol_version, calling, called, max_pdu, roles)


def accept(
    request: AssociateRequest, known: KnownTitle, max_pdu: int, services: Iterable[str]
) -> tuple[bytes, dict[int, AcceptedContext]]:
    """Return the bytes of an A-ASSOCIATE-AC, and the accepted contexts by id.

    ``services`` are abstract syntaxes beside storage that this process offers.
    """
    offered = frozenset(services)
    accepted: dict[int, AcceptedContext] = {}
    results, roles = [], set[str]()
    for proposed in request.primitive.presentation_context_definition_list:
        context, result = _judge(proposed, request, known, offered)
        if result is ContextResult.ACCEPTED and context.id not in accepted:
            accepted[context.id] = context
            roles |= {context.abstract_syntax} & request.roles.keys()
        results.append(_result(context, result))
    return _encode(request, results, roles, max_pdu), accepted


def _judge(
    proposed: Any, request: AssociateRequest, known: KnownTitle, offered: frozenset[str]
) -> tuple[AcceptedContext, ContextResult]:
    abstract = str(proposed.abstract_syntax)
    syntaxes = [str(one) for one in proposed.transfer_syntax]
    scu, scp = request.roles.get(abstract, (True, False))
    is_storage = abstract not in SERVICES and is_storage_class(abstract)
    if is_storage:
        # the sender's first choice, as its file most likely is; the retired big endian only where nothing else is
        chosen = next((one for one in syntaxes if one != BIG_ENDIAN), syntaxes[0])
        if scp and EXPLICIT in syntaxes:  # the peer receives, and any instance can be sent so
            chosen = EXPLICIT
        right = "get" if scp and not scu else "store"
    elif abstract in offered:
        chosen, right = next((one for one in PLAIN if one in syntaxes), ""), SERVICES[abstract]
    else:
        return AcceptedContext(proposed.context_id, abstract, syntaxes[0], False), ContextResult.ABSTRACT_SYNTAX
    context = AcceptedContext(proposed.context_id, abstract, chosen or syntaxes[0], scp and is_storage)
    if right and right not in known.may:
        return context, ContextResult.USER_REJECTION
    return context, ContextResult.ACCEPTED if chosen else ContextResult.TRANSFER_SYNTAX


@lru_cache(1024)
def is_storage_class(uid: str) -> bool:
    """Return True for a class of the Storage Service, a private one, and one that is not known yet."""
    if not uid.startswith("1.2.840.10008."):
        return True
    known = {str(value) for value in vars(sop_classes).values() if isinstance(value, str)}
    return uid not in known or uid_to_service_class(uid).__name__ == "StorageServiceClass"


def _result(context: AcceptedContext, result: ContextResult) -> Any:
    item = PresentationContext()
    item.context_id, item.abstract_syntax = context.id, context.abstract_syntax
    item.transfer_syntax, item.result = [context.transfer_syntax], result.value
    return item


def _encode(request: AssociateRequest, results: list[Any], roles: set[str], max_pdu: int) -> bytes:
    answer = A_ASSOCIATE()
    answer.application_context_name = APPLICATION_CONTEXT
    answer.calling_ae_title = request.primitive.calling_ae_title
    answer.called_ae_title = request.primitive.called_ae_title
    answer.result, answer.result_source = 0, 1
    answer.presentation_context_definition_results_list = results
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = max_pdu
    implementation.implementation_class_uid = PYNETDICOM_IMPLEMENTATION_UID
    answer.user_information = [length, implementation, *(_role(uid, *request.roles[uid]) for uid in sorted(roles))]
    return bytes(A_ASSOCIATE_AC(answer).encode())


def _role(uid: str, scu: bool, scp: bool) -> Any:
    item = SCP_SCU_RoleSelectionNegotiation()
    item.sop_class_uid, item.scu_role, item.scp_role = uid, scu, scp
    return item
