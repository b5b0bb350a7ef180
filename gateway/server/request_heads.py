"""Connections whose TLS handshake and request head are read by the poller, without a thread and without waiting."""

import ssl
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any

from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn

from gateway.server.bulkheads import Bulkhead
from gateway.server.rate_limited_socket import RateLimitedSocket, RateLimitedTLSSocket

if TYPE_CHECKING:
    from gateway.server.watcher_state import Watcher

END_OF_HEAD = b"\r\n\r\n"
HEAD_BYTES = 65536
"""Bytes of a head that the poller waits for; gunicorn's parser refuses a longer one."""
PROBES = frozenset([b"/ping", b"/healthcheck", b"/livez", b"/readyz", b"/startupz"])
"""Paths that have threads of their own."""


class Connection(TConn):  # type: ignore[misc]
    """A connection whose head is read by the poller: ``head`` has the bytes of a request so far."""

    def __init__(self, cfg: Any, sock: RateLimitedSocket | RateLimitedTLSSocket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.parser = get_parser(cfg, sock, client)
        self.initialized = True
        self.shaken = not isinstance(sock, RateLimitedTLSSocket)
        self.head = bytearray()
        self.bulkhead: Bulkhead | None = None
        self.watcher: Watcher | None = None
        """The answer that has waited, once it is to be sent."""

    def begin(self, timeout: float) -> None:
        """Wait for a request until ``timeout``; bytes that arrived after the last one belong to it."""
        self.timeout = timeout
        self.sock.setblocking(False)
        self.head += self.parser.unreader.take_buffered()

    def advance(self) -> int:
        """Continue the handshake and the head without waiting. Return 0 for a thread, or the events to poll for.

        Raises OSError where the handshake fails or the client has closed.
        """
        try:
            if not self.shaken:
                self.sock.do_handshake()
                self.shaken = True
        except ssl.SSLWantReadError:
            return EVENT_READ
        except ssl.SSLWantWriteError:
            return EVENT_WRITE
        return 0 if self._read() else EVENT_READ

    def _read(self) -> bool:
        """Return True once a whole head has arrived, or more bytes than a head may have."""
        searched = 0
        while self.head.find(END_OF_HEAD, searched) < 0 and len(self.head) < HEAD_BYTES:
            searched = max(0, len(self.head) - len(END_OF_HEAD) + 1)
            piece = self.sock.receive(HEAD_BYTES)
            if piece is None:
                return False
            if not piece and self.head:  # half-closed: the head may be malformed, and gunicorn answers that
                return True
            if not piece:
                raise ConnectionResetError("the client has closed the connection")
            self.head += piece
        return True

    @property
    def is_probe(self) -> bool:
        """Return True if the head asks for a probe."""
        fields = bytes(self.head[:64]).split(b" ", 2)
        return len(fields) == 3 and fields[1].partition(b"?")[0] in PROBES

    def hand_over(self) -> None:
        """Pass the bytes that were read to gunicorn's parser."""
        self.parser.unreader.unread(bytes(self.head))
        self.head.clear()
        self.data_ready = True  # no second wait in the thread
