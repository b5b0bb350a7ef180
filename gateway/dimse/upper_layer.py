"""The DICOM Upper Layer of one connection: PDUs in and out (PS3.8 9.3), bounded before a byte of them is stored."""

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from gateway.config import MiB

MAX_ASSOCIATE = 1 * MiB
"""Bytes of an A-ASSOCIATE-RQ: 128 presentation contexts of 40 transfer syntaxes each take 160 KiB."""
PDV_HEAD = 6
"""Bytes before the fragment of a presentation data value: its length, context and control header (PS3.8 9.3.5.1)."""


class PduType(IntEnum):
    """The types of PDUs (PS3.8 9.3)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class AbortReason(IntEnum):
    """Reasons of the service provider in an A-ABORT (PS3.8 9.3.8)."""

    NONE = 0
    UNRECOGNIZED = 1
    UNEXPECTED = 2
    PARAMETER_UNRECOGNIZED = 4
    PARAMETER_UNEXPECTED = 5
    PARAMETER_INVALID = 6


class ConnectionEnded(Exception):
    """No association is possible on this connection any more; ``why`` is a word for log and metrics.

    ``reason`` is sent in an A-ABORT before the connection closes, unless it is None.
    """

    def __init__(self, why: str, reason: AbortReason | None = None) -> None:
        super().__init__(why)
        self.why, self.reason = why, reason


class Pdu(NamedTuple):
    """A PDU without its head; ``data`` is valid until the next one is received."""

    type: PduType
    data: memoryview


class Fragment(NamedTuple):
    """A presentation data value: a piece of a command or of a data set (PS3.8 E.2)."""

    context: int
    is_command: bool
    is_last: bool
    data: memoryview


@dataclass(frozen=True)
class Pace:
    """How slow a peer may be: seconds between messages (``idle``) and between pieces of one (``read``), and bytes per
    second of waiting (``rate``) after the seconds of ``grace``.
    """

    idle: float
    read: float
    rate: int
    grace: float


class UpperLayer:
    """PDUs on one connection. ``max_pdu`` bytes is the longest P-DATA-TF that is received."""

    def __init__(self, connection: socket.socket, max_pdu: int, pace: Pace) -> None:
        self._socket, self._pace, self._max_pdu = connection, pace, max_pdu
        self._buffer = bytearray(max_pdu)
        self._head = bytearray(6)
        self._waited, self._moved = 0.0, 0
        self.busy = False
        """True within a message, whose pieces a peer must send without long pauses."""
        self.peer_max_pdu = 16_384

    def receive(self, timeout: float | None = None) -> Pdu:
        """Wait for the next PDU. Raises ConnectionEnded, also for one that is too long, of no type, or too slow."""
        first = timeout if timeout is not None else self._pace.read if self.busy else self._pace.idle
        self._fill(memoryview(self._head), first)
        kind, length = self._head[0], struct.unpack_from(">L", self._head, 2)[0]
        if kind not in PduType.__members__.values():
            raise ConnectionEnded("invalid-pdu", AbortReason.UNRECOGNIZED)
        limit = {PduType.DATA: self._max_pdu, PduType.ASSOCIATE_RQ: MAX_ASSOCIATE}.get(PduType(kind), 4)
        if length > limit:
            raise ConnectionEnded("oversized-pdu", AbortReason.PARAMETER_INVALID)
        if length > len(self._buffer):
            self._buffer = bytearray(length)
        data = memoryview(self._buffer)[:length]
        self._fill(data, self._pace.read)
        return Pdu(PduType(kind), data)

    def fragments(self, pdu: Pdu) -> Iterator[Fragment]:
        """The presentation data values of a P-DATA-TF. Raises ConnectionEnded where they do not fill it exactly."""
        data = pdu.data
        while data:
            length = int.from_bytes(data[:4], "big")
            if length < 2 or length + 4 > len(data):
                raise ConnectionEnded("invalid-pdu", AbortReason.PARAMETER_INVALID)
            control = data[5]
            yield Fragment(data[4], bool(control & 1), bool(control & 2), data[PDV_HEAD : length + 4])
            data = data[length + 4 :]

    def message_begins(self) -> None:
        """Count the time of the peer from here."""
        self.busy, self._waited, self._moved = True, 0.0, 0

    def message_ends(self) -> None:
        """The peer may take its time until the next message."""
        self.busy = False

    def ready(self) -> bool:
        """Return True if a PDU has begun to arrive, or the connection is closed."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def send_data(self, context: int, data: bytes | memoryview, *, is_command: bool, last: bool = True) -> None:
        """Send a command or a piece of a data set in P-DATA-TFs as long as the peer takes. Raises ConnectionEnded."""
        most = max(1, min(self.peer_max_pdu or self._max_pdu, self._max_pdu) - PDV_HEAD)
        view = memoryview(data)
        while True:
            piece, view = view[:most], view[most:]
            control = int(is_command) | (2 if last and not view else 0)
            head = struct.pack(">BxLLBB", PduType.DATA, len(piece) + PDV_HEAD, len(piece) + 2, context, control)
            self.send(head, piece)
            if not view:
                return

    def send(self, *pieces: bytes | memoryview) -> None:
        """Send the bytes of PDUs. Raises ConnectionEnded for a peer that has gone, or reads nothing."""
        self._socket.settimeout(self._pace.read)
        try:
            self._socket.sendall(b"".join(pieces))
        except TimeoutError:
            raise ConnectionEnded("slow-peer") from None
        except OSError:
            raise ConnectionEnded("connection-lost") from None

    def send_short(self, kind: PduType, *values: int) -> None:
        """Send one of the PDUs with four bytes: release, reject, abort."""
        self.send(struct.pack(">BxLBBBB", kind, 4, *(values or (0, 0, 0, 0))))

    def abort(self, reason: AbortReason | None = None) -> None:
        """Send an A-ABORT of the service provider with a reason, or of the service user (None)."""
        with suppress(ConnectionEnded):
            self.send_short(PduType.ABORT, 0, 0, 0 if reason is None else 2, reason or 0)

    def _fill(self, view: memoryview, first: float) -> None:
        """Read until ``view`` is full; the first byte may take ``first`` seconds. Raises ConnectionEnded."""
        timeout, begun = first, False
        while view:
            self._socket.settimeout(timeout)
            before = time.monotonic()
            try:
                count = self._socket.recv_into(view)
            except TimeoutError:
                raise ConnectionEnded("idle" if not (self.busy or begun) else "slow-peer", AbortReason.NONE) from None
            except OSError:
                raise ConnectionEnded("connection-lost") from None
            if not count:
                raise ConnectionEnded("connection-lost")
            self._judge(count, time.monotonic() - before)
            view, timeout, begun = view[count:], self._pace.read, True

    def _judge(self, count: int, waited: float) -> None:
        if not self.busy:
            return
        self._moved += count
        self._waited += waited
        late = self._waited - self._pace.grace
        if late > 0 and self._moved < late * self._pace.rate:
            raise ConnectionEnded("slow-peer", AbortReason.NONE)
