"""Associations with one peer on the DICOM network (PS3.8), requested by pynetdicom."""

import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gateway.errors import PeerFailed, Unavailable
from gateway.extras import hint
from gateway.peers.peer_entries import DimseAddress

try:
    from pynetdicom import AE, _config, evt
    from pynetdicom.association import Association
    from pynetdicom.pdu import A_ASSOCIATE_RJ
    from pynetdicom.presentation import PresentationContext

    from gateway.peers.paused_reactor import pause_for_certain
except ImportError as error:
    raise ImportError(f"A peer on the DICOM network needs pynetdicom; {hint('dimse')}") from error

logging.getLogger("pynetdicom.transport").setLevel(logging.CRITICAL)  # a peer that is away is told by its caller
_config.LOG_HANDLER_LEVEL = "none"  # its handlers log identifiers, in which names of patients are
_config.STORE_SEND_CHUNKED_DATASET = True  # a stored file is sent as it is, without being decoded

MAX_PDU = 131_072
"""Bytes of a PDU that is received: the most that dcmtk sends."""
RETRY_SECONDS = 30
TRANSIENT = 2
"""Result of a rejection that may pass (PS3.8 9.3.4)."""


class NothingAccepted(PeerFailed):
    """The peer accepts none of the presentation contexts that were proposed."""


@contextmanager
def associated(
    name: str,
    address: DimseAddress,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[Any] = (),
    on_store: Callable[[evt.Event], int] | None = None,
) -> Iterator[Association]:
    """An association, released at the end of the block, and aborted where it raises.

    ``roles`` are items of role selection, and ``on_store`` receives what the peer sends by C-STORE. Raises Unavailable
    for a peer that is not reached or busy, PeerFailed for one that rejects the gateway.
    """
    entity = AE(address.calling)
    entity.connection_timeout, entity.acse_timeout = address.connect_seconds, address.read_seconds
    entity.dimse_timeout = entity.network_timeout = address.read_seconds
    rejections: list[A_ASSOCIATE_RJ] = []
    handlers: list[Any] = [(evt.EVT_CONN_OPEN, pause_for_certain), (evt.EVT_CONN_OPEN, _without_delay)]
    handlers.append((evt.EVT_PDU_RECV, _note, [rejections]))
    if on_store is not None:
        handlers.append((evt.EVT_C_STORE, on_store))
    association = entity.associate(
        address.host,
        address.port,
        contexts=list(contexts),
        ae_title=address.aet,
        max_pdu=MAX_PDU,
        ext_neg=list(roles),
        evt_handlers=handlers,
        tls_args=(_tls(name, address), address.host) if address.tls else None,
    )
    if not association.is_established:
        raise _refusal(name, association, rejections)
    association.unbind(evt.EVT_PDU_RECV, _note)
    try:
        yield association
    except RuntimeError:
        if association.is_established:
            association.abort()
            raise
        raise lost(name) from None  # pynetdicom's, of a request after the peer has ended the association
    except BaseException:
        association.abort()
        raise
    if association.is_established:
        association.release()


def lost(name: str) -> Unavailable:
    """Return the error for a peer whose association ended, or that does not answer."""
    return Unavailable(
        f"The peer {name} does not answer; try again later.",
        retry_after=RETRY_SECONDS,
        private=f"peer {name}: the association was lost",
    )


def _note(event: evt.Event, rejections: list[A_ASSOCIATE_RJ]) -> None:
    """Note a rejection when it arrives.

    pynetdicom closes the connection before it reports one, and on a busy machine its requestor sees the closed
    connection alone: then it reports an abort.
    """
    if isinstance(event.pdu, A_ASSOCIATE_RJ):
        rejections.append(event.pdu)


def _refusal(name: str, association: Association, rejections: Sequence[A_ASSOCIATE_RJ]) -> PeerFailed | Unavailable:
    for rejection in rejections:
        if rejection.result != TRANSIENT:
            where = f"source {rejection.source}, {rejection.reason_diagnostic}"
            private = f"peer {name}: the association was rejected, {where}"
            detail = f"The peer {name} rejects the AE title of the gateway."
            return PeerFailed(detail, private=private, outcome="rejected")
        private = f"peer {name}: the association was rejected for now, {rejection.reason_diagnostic}"
        return Unavailable(f"The peer {name} is busy; try again later.", retry_after=RETRY_SECONDS, private=private)
    if association.acceptor.primitive is not None:
        private = f"peer {name}: no presentation context was accepted"
        return NothingAccepted(f"The peer {name} does not offer this service.", private=private, outcome="not-offered")
    return lost(name)


def _without_delay(event: evt.Event) -> None:
    """Send small PDUs at once: a peer would wait for each for the 40 ms of delayed acknowledgements (RFC 896)."""
    wrapper = event.assoc.dul.socket
    connection = None if wrapper is None else wrapper.socket
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _tls(name: str, address: DimseAddress) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=address.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if address.certificate is not None:
            context.load_cert_chain(address.certificate, address.key)
    except OSError as error:
        private = f"peer {name}: a certificate cannot be loaded"
        raise PeerFailed(f"The certificates for the peer {name} cannot be loaded.", private=private) from error
    return context
