"""One association from its request to its end: what arrives is dispatched to its service (PS3.7 8, PS3.8 7)."""

import logging
import secrets
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from gateway.config import MiB
from gateway.dicom.web.instance_attributes import AttributeReader
from gateway.dimse import commands, negotiation
from gateway.dimse.commands import Command, CommandElement, CommandField
from gateway.dimse.incoming_store import IncomingStore
from gateway.dimse.known_titles import KnownTitle
from gateway.dimse.negotiation import AcceptedContext, AssociateRequest, Rejection
from gateway.dimse.store_tally import StoreTally
from gateway.dimse.upper_layer import AbortReason, ConnectionEnded, Fragment, PduType, UpperLayer
from gateway.observe.logs import exception_frames
from gateway.studies.arrival_rows import Sender

if TYPE_CHECKING:
    from gateway.dimse.provider import Provider

logger = logging.getLogger("gateway")

MAX_IDENTIFIER = 16 * MiB
"""Bytes of the data set of a query or a commitment: 100,000 pairs of UIDs."""


class DataSink(Protocol):
    """Receives the data set of a message."""

    def write(self, data: memoryview) -> None:
        """More of the data set."""


class Identifier:
    """A data set in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: memoryview) -> None:
        """More of it. Raises ConnectionEnded for one that is too long."""
        if len(self.data) + len(data) > MAX_IDENTIFIER:
            raise ConnectionEnded("oversized-identifier", AbortReason.NONE)
        self.data += data


Service = Callable[["ServedAssociation", Command, AcceptedContext, bytes], None]
"""Answers a request, given its data set."""


class ServedAssociation:
    """One connection; ``run`` serves it in its own thread."""

    def __init__(self, provider: "Provider", connection: socket.socket, address: str) -> None:
        self.provider, self._address, self.connection = provider, address, connection
        self.layer = UpperLayer(connection, provider.settings.dimse_max_pdu, provider.pace)
        self.known: KnownTitle | None = None
        self.id = secrets.token_hex(16)
        self.contexts: dict[int, AcceptedContext] = {}
        self._reader = AttributeReader()
        self._command = bytearray()
        self._message: tuple[Command, AcceptedContext, DataSink] | None = None
        self.tally = StoreTally()
        self.described = f"at {address}"
        """The peer for a log line, before it is known."""
        self._stopping = False

    @property
    def title(self) -> KnownTitle:
        """The peer, once the association is established."""
        assert self.known is not None
        return self.known

    @property
    def sender(self) -> Sender:
        """The peer as one that stores."""
        return Sender(self.id, self.title.title, self.title.caller)

    def run(self) -> None:
        """Serve until the association ends."""
        why = "failed"
        try:
            why = self._served()
        except ConnectionEnded as ended:
            why = "drained" if self._stopping and ended.why == "connection-lost" else ended.why
            if ended.reason is not None or self._stopping:
                self.layer.abort(ended.reason)
        except Exception as error:
            logger.error("an association failed\n%s", exception_frames(error, with_text=False))
            self.layer.abort(AbortReason.NONE)
        finally:
            self._end(why)

    def _served(self) -> str:
        request = self._request()
        rejection = self.provider.judge(self, request, self._address)
        if rejection is not None:
            self._reject(rejection)
            return rejection.why
        answer, self.contexts = negotiation.accept(
            request, self.title, self.provider.settings.dimse_max_pdu, self.provider.services
        )
        self.layer.peer_max_pdu = request.max_pdu
        self.layer.send(answer)
        logger.info("association %s accepted: %s at %s", self.id, self.title.title, self._address)
        while True:
            pdu = self.layer.receive()
            if pdu.type is PduType.DATA:
                for fragment in self.layer.fragments(pdu):
                    self._take(fragment)
            elif (why := self._over(pdu.type)) is not None:
                return why
            if self._stopping and self._message is None:
                raise ConnectionEnded("drained", AbortReason.NONE)

    def _request(self) -> AssociateRequest:
        self.layer.message_begins()
        if isinstance(self.connection, ssl.SSLSocket):
            try:
                self.connection.do_handshake()
            except OSError:
                raise ConnectionEnded("no-tls") from None
        pdu = self.layer.receive(self.provider.settings.head_timeout)
        if pdu.type is not PduType.ASSOCIATE_RQ:
            raise ConnectionEnded("unexpected-pdu", AbortReason.UNEXPECTED)
        request = negotiation.read_request(bytes(pdu.type.to_bytes() + b"\0" + len(pdu.data).to_bytes(4)) + pdu.data)
        self.layer.message_ends()
        self.described = f"{request.calling[:16]!a} at {self._address}, for {request.called[:16]!a}"
        return request

    def _reject(self, rejection: Rejection) -> None:
        self.layer.send_short(PduType.ASSOCIATE_RJ, 0, rejection.result, rejection.source, rejection.reason)

    def _over(self, kind: PduType) -> str | None:
        """Answer the end of the association: how it ended. Raises ConnectionEnded for a PDU out of turn."""
        if kind is PduType.RELEASE_RQ and self._message is None:
            self.layer.send_short(PduType.RELEASE_RP)
            return "released"
        if kind is PduType.ABORT:
            return "aborted"
        raise ConnectionEnded("unexpected-pdu", AbortReason.UNEXPECTED)

    def _take(self, fragment: Fragment) -> None:
        """Take a piece of a message; its last one dispatches it."""
        if fragment.is_command:
            command = self._assembled(fragment)
            if command is not None:
                self._begin(command, self._context(fragment))
            return
        if self._message is None or fragment.context != self._message[1].id:
            raise ConnectionEnded("unexpected-pdu", AbortReason.UNEXPECTED)
        command, context, sink = self._message
        sink.write(fragment.data)
        if fragment.is_last:
            self.layer.message_ends()
            self._message = None
            self._dispatch(command, context, sink)

    def _assembled(self, fragment: Fragment) -> Command | None:
        if self._message is not None or len(self._command) + len(fragment.data) > commands.MAX_COMMAND:
            raise ConnectionEnded("unexpected-pdu", AbortReason.UNEXPECTED)
        self._command += fragment.data
        if not fragment.is_last:
            return None
        data, self._command = bytes(self._command), bytearray()
        return commands.decode(data)

    def _context(self, fragment: Fragment) -> AcceptedContext:
        if fragment.context not in self.contexts:
            raise ConnectionEnded("unknown-context", AbortReason.PARAMETER_INVALID)
        return self.contexts[fragment.context]

    def _begin(self, command: Command, context: AcceptedContext) -> None:
        if not command.has_data_set:
            self._dispatch(command, context, Identifier())
            return
        self.layer.message_begins()
        is_store = command.number(CommandElement.FIELD) == CommandField.C_STORE and self.stores(context)
        sink = IncomingStore(self.provider.store, command, context) if is_store else Identifier()
        self._message = command, context, sink

    def stores(self, context: AcceptedContext) -> bool:
        """Return True if the peer may store by a context."""
        return context.abstract_syntax not in negotiation.SERVICES and "store" in self.title.may

    def _dispatch(self, command: Command, context: AcceptedContext, sink: DataSink) -> None:
        if isinstance(sink, IncomingStore):
            self._stored(command, context, sink)
            return
        assert isinstance(sink, Identifier)
        number = command.number(CommandElement.FIELD)
        service = self.provider.services.get(context.abstract_syntax, {}).get(number)
        if service is not None:
            service(self, command, context, bytes(sink.data))
        elif number != CommandField.C_CANCEL and not number & commands.RESPONSE:  # a cancel may come late
            self.respond(command, context, command.response(0x0211, "This operation is not supported"))

    def _stored(self, command: Command, context: AcceptedContext, operation: IncomingStore) -> None:
        size = operation.size
        status, study = operation.finish(self.provider.arriving, self.sender, self._reader)
        self.tally.count(study, status.why, size)
        self.provider.metrics.instance(status.why, size)
        self.respond(command, context, command.response(status.code, status.comment))

    def respond(self, command: Command, context: AcceptedContext, answer: Command, data: bytes | None = None) -> None:
        """Send the response to a command, and its data set. Raises ConnectionEnded."""
        if data is not None:
            answer.values[CommandElement.DATA_SET_TYPE] = commands.DATA_SET
        self.layer.send_data(context.id, answer.encode(), is_command=True)
        if data is not None:
            self.layer.send_data(context.id, data, is_command=False)

    def cancelled(self, command: Command) -> bool:
        """Return True if the peer has cancelled a request that is being answered. Raises ConnectionEnded."""
        while self.layer.ready():
            found = self.next_command()
            if found.number(CommandElement.FIELD) == CommandField.C_CANCEL:
                return found.number(CommandElement.RESPONDED_TO) == command.number(CommandElement.MESSAGE_ID)
            raise ConnectionEnded("unexpected-pdu", AbortReason.UNEXPECTED)
        return False

    def next_command(self) -> Command:
        """Wait for a command without a data set, while a request is being answered. Raises ConnectionEnded."""
        while True:
            pdu = self.layer.receive(self.provider.pace.read)
            if pdu.type is not PduType.DATA:
                raise ConnectionEnded("aborted" if pdu.type is PduType.ABORT else "unexpected-pdu")
            for fragment in self.layer.fragments(pdu):
                if not fragment.is_command:
                    raise ConnectionEnded("unexpected-pdu", AbortReason.UNEXPECTED)
                command = self._assembled(fragment)
                if command is not None:
                    return command

    def stop(self) -> None:
        """End it with the message that is being received or answered; wake the thread where it waits for one."""
        self._stopping = True
        if self._message is None:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RD)

    def _end(self, why: str) -> None:
        if self._message is not None and isinstance(self._message[2], IncomingStore):
            self._message[2].discard()
        self.connection.close()
        self.provider.ended(self, why)
