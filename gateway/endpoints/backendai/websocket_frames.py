"""Frames of a WebSocket (RFC 6455) by wsproto, as bytes in and out: messages of text, pings and the close."""

import base64
import binascii
import hashlib
from collections.abc import Iterator
from enum import IntEnum

from gateway.extras import hint

try:
    from wsproto.connection import Connection, ConnectionState, ConnectionType
    from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
except ImportError as error:
    raise ImportError(f"backendai_keys (GATEWAY_BACKENDAI_KEYS) needs wsproto; {hint('backendai')}") from error

VERSION = "13"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY_BYTES = 16


class CloseCode(IntEnum):
    """Why a connection is closed (RFC 6455 7.4.1)."""

    DONE = 1000
    STOPPING = 1001
    BROKEN = 1002
    NOT_TEXT = 1003
    NOT_UTF8 = 1007
    REFUSED = 1008
    TOO_LONG = 1009
    FAILED = 1011
    BUSY = 1013


def accept_token(key: str) -> str | None:
    """Return Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 4.2.2); None for one that is not 16 bytes."""
    try:
        if len(base64.b64decode(key, validate=True)) != KEY_BYTES:
            return None
    except (ValueError, binascii.Error):
        return None
    return base64.b64encode(hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()


class Frames:
    """One connection, on the server's side. ``out`` has the bytes to be sent."""

    def __init__(self, longest: int) -> None:
        """``longest`` is the most characters of one message."""
        self._connection = Connection(ConnectionType.SERVER)
        self._longest, self._size = longest, 0
        self._text: list[str] = []
        self.out = bytearray()

    def is_open(self) -> bool:
        """Return True until either side has closed."""
        return self._connection.state is ConnectionState.OPEN

    def receive(self, data: bytes) -> Iterator[str]:
        """Yield whole messages; pings and a close are answered. What comes behind a close is dropped."""
        if not self.is_open():
            return
        self._connection.receive_data(data)
        for event in self._connection.events():
            match event:
                case TextMessage():
                    yield from self._add(event)
                case BytesMessage():
                    self.close(CloseCode.NOT_TEXT, "Messages are text.")
                case Ping():
                    self.out += self._connection.send(event.response())
                case CloseConnection() if self._connection.state is ConnectionState.REMOTE_CLOSING:
                    self.out += self._connection.send(event.response())
                case CloseConnection():  # the frames are broken
                    self.close(CloseCode(event.code) if event.code in list(CloseCode) else CloseCode.BROKEN)
            if not self.is_open():
                return

    def _add(self, event: TextMessage) -> Iterator[str]:
        self._size += len(event.data)
        if self._size > self._longest:
            self.close(CloseCode.TOO_LONG, f"A message has at most {self._longest} characters.")
            return
        self._text.append(event.data)
        if event.message_finished:
            text, self._text, self._size = "".join(self._text), [], 0
            yield text

    def text(self, message: str) -> None:
        """Send a message, unless the connection is closed."""
        if self.is_open():
            self.out += self._connection.send(TextMessage(data=message))

    def ping(self) -> None:
        """Send a ping, unless the connection is closed."""
        if self.is_open():
            self.out += self._connection.send(Ping())

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Close the connection, unless it is closed."""
        if self.is_open():
            self.out += self._connection.send(CloseConnection(code=code, reason=reason[:120]))
