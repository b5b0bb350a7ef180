"""gunicorn's threaded worker, with limits that a slow or hostile client cannot extend.

Plain ``gthread`` assigns a thread to a connection at its first byte, and the thread waits without a limit for the rest.
Here the poller does the TLS handshake and reads the head of a request before a thread starts, and probes have threads
of their own. Each wait for bytes, in either direction, is bounded by a timeout and by a minimum rate
(``gateway.config``), and a thread that waits for a slow client is lent to another request.
"""

import contextlib
import errno
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ
from typing import Any
from weakref import WeakSet

from gunicorn.workers.gthread import ThreadWorker

from gateway.config import Settings
from gateway.server.bulkheads import Bulkhead
from gateway.server.rate_limited_socket import RateLimitedSocket, RateLimitedTLSSocket
from gateway.server.request_heads import Connection
from gateway.server.reuse import announce_close, is_read
from gateway.server.tls_context import ServerTLS
from gateway.server.waiting_answers import RESUME_THREADS, WaitingAnswers

PROBE_THREADS = 2
"""Threads for probes: a load balancer and Kubernetes may send one each at once."""
NOTIFY_SECONDS = 1.0
"""Between two signs of life to the master at most."""
LINGER_TIME = 30.0
"""Seconds for which an answered client may continue to write; nginx's lingering_time. Closing at once would reset the
connection, and the client would not see why it was refused."""
DISCARD = bytearray(1 << 18)
"""The buffer for bytes that are read and dropped."""
STOP_TIME = 1.0
"""Seconds that a stopping worker waits for requests that are still arriving; as long as gunicorn's own linger."""
EXHAUSTED = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
ACCEPT_PAUSE = 0.5
"""Seconds without accepting, after the system had no file or memory for another connection."""
REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def _unquoted(error: BaseException) -> BaseException:
    """Return an error of the same class with that class's name as its text."""
    # gunicorn chooses the status by the class, and puts the text into the page and the log.
    kind = type(error)
    members = {"__init__": lambda self: None, "__str__": lambda self: kind.__name__}
    return type(kind.__name__, (kind,), members)()  # type: ignore[no-any-return]


def connection_bound(settings: Settings, configured: int, threads: int) -> int:
    """Return how many connections a worker has: ``configured``, or fewer where RLIMIT_NOFILE leaves too few files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return configured
    return max(threads, min(configured, soft - settings.reserved_files))


class BoundedWorker(ThreadWorker):  # type: ignore[misc]
    """gthread in which a connection gets a thread once the head of its request has arrived."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = Settings.from_environment()
        self.worker_connections = connection_bound(self.settings, self.cfg.worker_connections, self.cfg.threads)
        self.max_keepalived = self.worker_connections - self.cfg.threads
        self.heads: dict[Connection, int] = {}
        """Connections without a whole head and the events that each is polled for, the oldest first."""
        self.lingering: dict[Connection, None] = {}
        """Answered connections whose clients still write, the oldest first; a dict removes from the middle at once."""
        self.connections: WeakSet[Connection] = WeakSet()
        """All open connections, wherever they are."""
        self.work = self._bulkhead(self.cfg.threads, self.settings.spare_threads)
        self.probes = self._bulkhead(PROBE_THREADS, PROBE_THREADS)
        self.stopped_at = 0.0
        """The time of the signal to stop, by ``time.monotonic``; 0 before it."""
        self.accept_at = 0.0
        self._notify_at = 0.0
        self._tls = ServerTLS(self.cfg, self.log)
        most = connection_bound(self.settings, self.cfg.worker_connections + self.settings.watchers, self.cfg.threads)
        self.waiting = WaitingAnswers(self, most)

    def _bulkhead(self, threads: int, spare: int) -> Bulkhead:
        def wake() -> None:
            self.method_queue.defer(bulkhead.go)

        bulkhead = Bulkhead(threads, spare, super().enqueue_req, wake)
        return bulkhead

    def notify(self) -> None:
        """Tell the master that this worker is alive, often enough for its ``timeout``.

        gunicorn does so at each turn of the main loop: two system calls a request, each of which gives up the GIL.
        """
        now = time.monotonic()
        if now >= self._notify_at:
            self._notify_at = now + min(NOTIFY_SECONDS, self.cfg.timeout / 10)
            super().notify()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Return a pool for all that the bulkheads start. It makes a thread only when no thread is idle."""
        return ThreadPoolExecutor(self.cfg.threads + self.settings.spare_threads + 2 * (PROBE_THREADS + RESUME_THREADS))

    def accept(self, listener: Any) -> bool:
        """Accept one connection; return whether there was one."""
        try:
            accepted, _ = listener.accept()
        except OSError as error:  # the client has disconnected, or the network failed (accept(2))
            if error.errno in EXHAUSTED:
                self._pause(error)
            return False
        conn = self.connection(accepted, listener.getsockname())
        if conn is not None:
            self.enqueue_req(conn)
        return True

    def connection(self, accepted: socket.socket, server: Any, head: bytes = b"") -> Connection | None:
        """Count and return a connection of which ``head`` has been read; None for one that its client has reset."""
        try:
            client = accepted.getpeername()
            conn = Connection(self.cfg, self._wrapped(accepted), client, server)
        except OSError:
            accepted.close()
            return None
        conn.head += head
        self.nr_conns += 1
        self.connections.add(conn)
        return conn

    def _wrapped(self, accepted: socket.socket) -> RateLimitedSocket | RateLimitedTLSSocket:
        sock = self._tls.wrap(accepted) if self.cfg.is_ssl else RateLimitedSocket(fileno=accepted.detach())
        sock.settings, sock.watchers = self.settings, self.waiting.watchers
        return sock

    def _pause(self, error: OSError) -> None:
        """Stop accepting for ACCEPT_PAUSE; after too many open files, allow fewer connections too."""
        # The connection stays in the backlog and keeps the listener readable: without a pause the loop would spin.
        # An eighth fewer connections leaves files to the requests in flight. The limit stays lower, since this process
        # has other files open than were expected.
        if error.errno == errno.EMFILE:
            self.worker_connections = max(self.cfg.threads, self.nr_conns * 7 // 8)
        name, bound = errno.errorcode[error.errno or 0], self.worker_connections
        self.log.warning("No connection is accepted for a moment (%s); at most %d stay open.", name, bound)
        self._close_idle()
        self.accept_at = time.monotonic() + ACCEPT_PAUSE
        self.set_accept_enabled(False)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections or not, never during a pause; gunicorn's main loop calls this at each turn."""
        super().set_accept_enabled(enabled and time.monotonic() >= self.accept_at)

    def enqueue_req(self, conn: Connection) -> None:
        """Wait for a request on a connection; its first bytes may have arrived with the last one."""
        conn.begin(time.monotonic() + self.settings.head_timeout)
        try:
            events = conn.advance()
        except OSError:
            self.close(conn)
            return
        if not events:
            self._dispatch(conn)
            return
        self.heads[conn] = events
        self.poller.register(conn.sock, events, partial(self._on_head, conn))

    def _on_head(self, conn: Connection, _fileobj: Any) -> None:
        try:
            events = conn.advance()
        except OSError:
            del self.heads[conn]
            self._drop(conn)
            return
        if not events:
            del self.heads[conn]
            self.poller.unregister(conn.sock)
            self._dispatch(conn)
        elif events != self.heads[conn]:
            self.heads[conn] = events
            self.poller.modify(conn.sock, events, partial(self._on_head, conn))

    def _dispatch(self, conn: Connection) -> None:
        if conn.is_probe:
            self._join(self.probes, conn)
        else:
            self.start(conn)

    def start(self, conn: Connection) -> None:
        """Start a request that is no probe in a thread."""
        self._join(self.work, conn)

    def _join(self, bulkhead: Bulkhead, conn: Connection) -> None:
        conn.bulkhead = bulkhead
        conn.hand_over()
        bulkhead.join(conn)

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Answer one request in its thread; return True where its connection may stay open."""
        announce_close(req, conn)
        return bool(super().handle_request(req, conn))

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        return keepalive and is_read(conn)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """Take a connection back from a thread: reuse it, or close it once its client has finished writing."""
        if conn.bulkhead is not None:
            conn.bulkhead.leave(conn)
        if conn.sock.watcher is not None:
            self.waiting.begin(conn)
        elif fs.exception() is None and fs.result():  # the pool cancels none
            if isinstance(conn.sock, RateLimitedTLSSocket) and conn.sock.pending():
                self.enqueue_req(conn)  # bytes that TLS has decrypted already do not wake the poller
            else:
                super().finish_request(conn, fs)
        else:
            self.close_gently(conn)

    def close_gently(self, conn: Connection) -> None:
        """Close a connection once its client has finished writing."""
        # close(2) with unread bytes sends a reset, which may overtake the response. Ending our direction alone lets the
        # client read it; ``_on_linger`` drops what the client still writes.
        with contextlib.suppress(OSError, ValueError):
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        conn.timeout = time.monotonic() + LINGER_TIME
        try:
            self.poller.register(conn.sock, EVENT_READ, partial(self._on_linger, conn))
        except (OSError, ValueError):  # closed already
            self.close(conn)
        else:
            self.lingering[conn] = None

    def _on_linger(self, conn: Connection, _fileobj: Any) -> None:
        try:
            # below TLS and without the minimum rate: the bytes are dropped, and LINGER_TIME bounds them
            more = socket.socket.recv_into(conn.sock, DISCARD)
        except BlockingIOError:
            return
        except OSError:
            more = 0
        if not more:
            del self.lingering[conn]
            self._drop(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer and log a request that gunicorn cannot parse, without its text, which quotes the request."""
        super().handle_error(None, client, addr, _unquoted(exc))

    def _drop(self, conn: Connection) -> None:
        self.poller.unregister(conn.sock)
        self.close(conn)

    def close(self, conn: Connection) -> None:
        """Close a connection at once."""
        self.nr_conns -= 1
        conn.close()

    def _close_idle(self) -> bool:
        """Close the connection that is idle longest; return whether there was one."""
        for waiting in (self.heads, self.lingering):
            if waiting:
                conn = next(iter(waiting))
                del waiting[conn]
                self._drop(conn)
                return True
        if self.keepalived_conns:
            self._drop(self.keepalived_conns.popleft())
            return True
        return False

    def murder_pending(self) -> None:
        """Close overdue connections: incomplete heads, clients that still write, and idle ones above the limit.

        gunicorn's own pending connections, whose threads got no first byte, do not occur here.
        """
        # Each dict has one timeout for all, so the oldest entry is the first to be overdue.
        for waiting in (self.heads, self.lingering):
            while waiting and self._is_overdue(conn := next(iter(waiting))):
                del waiting[conn]
                if conn.head:  # without a head, a client could read the 408 as the response to its next request
                    with contextlib.suppress(OSError):
                        conn.sock.send(REQUEST_TIMEOUT)
                self._drop(conn)
        while self.nr_conns >= self.worker_connections and self._close_idle():
            pass

    def _is_overdue(self, conn: Connection) -> bool:
        """Return True after the connection's timeout, and STOP_TIME after the signal to stop."""
        now = time.monotonic()
        return bool(conn.timeout <= now or (not self.alive and now >= self.stopped_at + STOP_TIME))
