"""A peer that writes PDUs of its own, as no library would."""

import socket
import struct
from types import TracebackType
from typing import Self

from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

from gateway.dimse.commands import Command, CommandElement, CommandField, decode
from tests.waiting import PATIENCE

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DATA, RELEASE, RELEASED, ABORT = 4, 5, 6, 7


class RawPeer:
    """A connection to the gateway. Use as a context manager."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.socket.close()

    def pdu(self, kind: int, data: bytes, length: int | None = None) -> None:
        """Send a PDU; ``length`` is what it says of itself."""
        self.socket.sendall(struct.pack(">BxL", kind, len(data) if length is None else length) + data)

    def associate(self, title: str = "CT1", *, called: str = "GATEWAY", classes: tuple[str, ...] = (CT,)) -> int:
        """Ask for an association; the type of the answer."""
        self.socket.sendall(request(title, called, classes))
        return self.answer()[0]

    def command(self, command: Command, context: int = 1) -> None:
        """Send a command in one PDU."""
        self.fragment(command.encode(), context, control=3)

    def fragment(self, data: bytes, context: int = 1, control: int = 2) -> None:
        """Send a fragment of a command (1, 3) or a data set (0, 2) in a PDU of its own."""
        self.pdu(DATA, struct.pack(">LBB", len(data) + 2, context, control) + data)

    def answer(self) -> tuple[int, bytes]:
        """The next PDU; the type 0 once the connection is closed."""
        head = self._read(6)
        if len(head) < 6:
            return 0, b""
        return head[0], self._read(struct.unpack(">L", head[2:])[0])

    def status(self) -> int:
        """The status of the next response."""
        kind, data = self.answer()
        assert kind == DATA
        return decode(data[6:]).number(CommandElement.STATUS, -1)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                piece = self.socket.recv(size - len(data))
            except ConnectionError:
                piece = b""
            if not piece:
                break
            data += piece
        return data


def request(title: str, called: str = "GATEWAY", classes: tuple[str, ...] = (CT,)) -> bytes:
    """The bytes of an A-ASSOCIATE-RQ with a context for each class."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = title, called
    contexts = [build_context(one, EXPLICIT) for one in classes]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    primitive.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 16_384, "1.2.3.4"
    primitive.user_information = [length, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def store_request(sop: str, sop_class: str = CT, message: int = 1) -> Command:
    """A C-STORE-RQ whose data set follows."""
    return Command(
        {
            CommandElement.SOP_CLASS: sop_class,
            CommandElement.FIELD: int(CommandField.C_STORE),
            CommandElement.MESSAGE_ID: message,
            CommandElement.PRIORITY: 0,
            CommandElement.DATA_SET_TYPE: 1,
            CommandElement.SOP_INSTANCE: sop,
        }
    )
