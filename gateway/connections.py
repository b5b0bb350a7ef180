"""gunicorn's threaded worker, with time bounds that a slow or hostile client cannot stretch.

Plain ``gthread`` gives a thread to a connection as soon as one byte has come and lets it wait without a bound for the
rest. Here a connection costs no thread until the head of its request is complete, which the poller sees by peeking;
and each wait for bytes, in either direction, is bounded by a timeout and by a minimum rate (``gateway.config``).
"""

import contextlib
import socket
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from gateway.config import Settings
from gateway.pacing import HEAD_BYTES, PacedSocket

END_OF_HEAD = b"\r\n\r\n"
LINGER_TIME = 30.0
"""Seconds for which a client that was answered may go on writing; nginx's lingering_time. Closing at once would reset
the connection, and the client would not see why it was refused."""
DISCARD = bytearray(1 << 18)
"""Where bytes that nobody wants are read to."""
DRAIN_TIME = 0.002
"""Seconds a thread spends on the unread rest of a body, for keep-alive's sake; a client can stall gunicorn's own 5."""
STOP_TIME = 1.0
"""Seconds that a stopping worker has for connections whose request is still on its way; gunicorn's own linger."""
REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def _unquoted(error: BaseException) -> BaseException:
    """An error of the same class, for gunicorn to choose a status by, whose text is the name of that class."""
    kind = type(error)
    members = {"__init__": lambda self: None, "__str__": lambda self: kind.__name__}
    return type(kind.__name__, (kind,), members)()  # type: ignore[no-any-return]


class BoundedWorker(ThreadWorker):  # type: ignore[misc]
    """gthread in which a connection gets a thread once the head of its request is there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = Settings.from_environment()
        self.heads: deque[TConn] = deque()
        self.lingering: deque[TConn] = deque()
        self.stopped_at = 0.0
        """When it was told to stop, by ``time.monotonic``."""

    def enqueue_req(self, conn: TConn) -> None:
        """Hand a connection to a thread, or leave it with the poller until its head is complete."""
        if not conn.initialized:
            conn.sock = PacedSocket(fileno=conn.sock.detach())
            conn.sock.settings = self.settings
        if self._ready(conn):
            self._dispatch(conn)
            return
        conn.timeout = time.monotonic() + self.settings.head_timeout
        self.heads.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self._on_head, conn))

    def _ready(self, conn: TConn) -> bool:
        """Whether a thread may take the connection: a whole head is there, or one too long, or the end."""
        if self.cfg.is_ssl or conn.sock.family not in (socket.AF_INET, socket.AF_INET6):
            return True  # cannot be peeked at, or polled for one byte more: only the timeouts of PacedSocket hold
        ahead = conn.parser.unreader.buf.getvalue() if conn.parser else b""
        came = conn.sock.peek()
        if came is None:
            return END_OF_HEAD in ahead
        if not came or len(came) == conn.sock.peeked or len(came) >= HEAD_BYTES or END_OF_HEAD in ahead + came:
            return True
        # the poller would report the same bytes again at once; let it wait for one more
        conn.sock.peeked = len(came)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(came) + 1)
        return False

    def _on_head(self, conn: TConn, _fileobj: Any) -> None:
        if self._ready(conn):
            self.heads.remove(conn)
            self.poller.unregister(conn.sock)
            self._dispatch(conn)

    def _dispatch(self, conn: TConn) -> None:
        if isinstance(conn.sock, PacedSocket):
            if conn.sock.peeked:
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            conn.sock.start()
        conn.data_ready = True  # no second wait in the thread
        super().enqueue_req(conn)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        if not keepalive:
            return False
        reader = getattr(getattr(conn.parser.mesg, "body", None), "reader", None)
        unread = getattr(reader, "length", getattr(reader, "parser", reader))
        if not unread:  # all of it was read, however late this thread comes to say so
            return True
        return bool(conn.parser.finish_body(deadline=time.monotonic() + DRAIN_TIME))

    def finish_request(self, conn: TConn, fs: Any) -> None:
        """Back from a thread: keep the connection, or let the client finish writing before it is closed."""
        ended = not fs.cancelled() and fs.exception() is None and fs.result() is False
        if not (ended and isinstance(conn.sock, PacedSocket)):
            super().finish_request(conn, fs)
            return
        with contextlib.suppress(OSError):
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        conn.timeout = time.monotonic() + LINGER_TIME
        self.lingering.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self._on_linger, conn))

    def _on_linger(self, conn: TConn, _fileobj: Any) -> None:
        try:
            more = socket.socket.recv_into(conn.sock, DISCARD)
        except BlockingIOError:
            return
        except OSError:
            more = 0
        if not more:
            self.lingering.remove(conn)
            self._drop(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what gunicorn cannot read, and log it; its own words quote the request, with all that it may hold."""
        super().handle_error(None, client, addr, _unquoted(exc))

    def _drop(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Close what is overdue: pending connections, heads that did not become whole, clients that go on writing."""
        super().murder_pending()
        for conn in self._overdue(self.heads):
            if conn.sock.peeked:
                with contextlib.suppress(OSError):
                    conn.sock.send(REQUEST_TIMEOUT)
            self._drop(conn)
        for conn in self._overdue(self.lingering):
            self._drop(conn)

    def _overdue(self, waiting: deque[TConn]) -> Iterator[TConn]:
        """Take those whose time is over; all of them when the worker stops."""
        now = time.monotonic()
        stopped = not self.alive and now >= self.stopped_at + STOP_TIME
        while waiting and (waiting[0].timeout <= now or stopped):
            yield waiting.popleft()
