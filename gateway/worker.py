"""gunicorn's threaded worker, with time bounds that a slow or hostile client cannot stretch.

Plain ``gthread`` gives a thread to a connection as soon as one byte has come and lets it wait without a bound for the
rest. Here a connection costs no thread until the head of its request is complete, which the poller sees by peeking;
and each wait for bytes, in either direction, is bounded by a timeout and by a minimum rate (``gateway.config``).
"""

import contextlib
import logging
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from selectors import EVENT_READ
from typing import Any, NoReturn

from gunicorn.workers.gthread import TConn, ThreadWorker

from gateway.access import bind, shared
from gateway.config import Settings
from gateway.errors import GatewayError
from gateway.executors.launching import Shared
from gateway.memory import keep_memory_flat
from gateway.observe import jsonlogs
from gateway.observe.logs import exception_frames, quiet_hooks
from gateway.pacing import HEAD_BYTES, PacedSocket

END_OF_HEAD = b"\r\n\r\n"
LINGER_TIME = 30.0
"""Seconds for which a client that was answered may go on writing; nginx's lingering_time. Closing at once would reset
the connection, and the client would not see why it was refused."""
DISCARD = bytearray(1 << 18)
"""Where bytes that nobody wants are read to."""
DRAIN_TIME = 0.002
"""Seconds a thread spends on the unread rest of a body, for keep-alive's sake; a client can stall gunicorn's own 5."""
RELIEF_TIME = 60.0
"""Seconds for which a worker goes on after a reload while none of the new ones accepts."""
STOP_TIME = 1.0
"""Seconds that a stopping worker has for connections whose request is still on its way; gunicorn's own linger."""
TICK = 0.5
"""Seconds at most between two looks at the clock, and between two reports of this worker's health to the others."""
WORKER_BOOT_ERROR = 3
"""The exit status by which a worker ends the whole server (gunicorn's Arbiter.WORKER_BOOT_ERROR)."""
BOOT_PAUSE = 2.0
"""Seconds before another worker tries what this one could not, where the server has been ready before."""
REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def _unquoted(error: BaseException) -> BaseException:
    """An error of the same class, for gunicorn to choose a status by, whose text is the name of that class."""
    kind = type(error)
    members = {"__init__": lambda self: None, "__str__": lambda self: kind.__name__}
    return type(kind.__name__, (kind,), members)()  # type: ignore[no-any-return]


class Worker(ThreadWorker):  # type: ignore[misc]
    """gthread in which a connection gets a thread once the head of its request is there."""

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse settings under which no thread would be free to say that the server is full (SystemExit)."""
        super().check_config(cfg, log)
        reserved = Settings.from_environment().reserved_threads
        if not 0 < reserved < cfg.threads:
            raise SystemExit(
                f"With {cfg.threads} threads and reserved_threads (GATEWAY_RESERVED_THREADS) {reserved} no thread "
                "would be free to answer probes and refusals: reserve at least one, and have more threads than that."
            )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = Settings.from_environment()
        bind.announce(self.cfg.address)
        shared.table()
        self.shared = Shared.of_this_server()
        self.seat = self.shared.board.seat(self.age)
        self.heads: deque[TConn] = deque()
        self.lingering: deque[TConn] = deque()
        self.service: Any = None
        self.stop_at = self.publish_at = 0.0
        self.relief_by = self.stopped_at = 0.0

    def load_wsgi(self) -> None:
        """Load the application and tell it how many requests may be past admission, so that probes find a thread.

        A service that configures no logging of its own gets lines on standard error.
        """
        keep_memory_flat()
        try:
            super().load_wsgi()
        except Exception as error:
            if not self.shared.board.started:
                raise
            self._give_up(exception_frames(error, with_text=True))  # no request, and so no patient, is in it
        self.service = getattr(self.wsgi, "extensions", {}).get("gateway")
        settings = self.service.settings if self.service else self.settings
        jsonlogs.configure(settings)
        quiet_hooks(settings.log_exception_text)
        if self.service is not None:
            self.service.admission.max_requests = self.cfg.threads - self.settings.reserved_threads
            self._open()

    def _open(self) -> None:
        """Load the models now, not with the first request; what the settings forbid ends the server with a sentence."""
        try:
            self.wsgi.open(self.shared.address, self.seat)
        except (ValueError, ImportError, OSError, GatewayError) as error:
            more = f" ({error.private})" if isinstance(error, GatewayError) and error.private else ""
            self._give_up(f"{error}{more}")

    def _give_up(self, why: str) -> NoReturn:
        """End the server that cannot start; one that has been ready before goes on without this worker."""
        if not self.shared.board.started:
            self.log.error("This server cannot start: %s", why)
            raise SystemExit(WORKER_BOOT_ERROR)
        self.log.error("This worker cannot start; another will try: %s", why)
        time.sleep(BOOT_PAUSE)
        raise SystemExit(1)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: say that no more should come, and stop once that has been heard (``drain_delay``)."""
        if self._awaits_relief():
            self.relief_by = self.relief_by or time.monotonic() + RELIEF_TIME
            return
        if self.service is None or self.service.draining or not self.settings.drain_delay:
            self._drain()
            super().handle_exit(sig, frame)
            return
        self._drain()
        self.stop_at = time.monotonic() + self.settings.drain_delay

    def _awaits_relief(self) -> bool:
        """Whether this worker is of a former generation (SIGHUP) and none of the new one is there yet to accept."""
        if self.service is None or self.shared.board.generation == self.seat.generation or self.seat.read():
            return False
        return not self.relief_by or time.monotonic() < self.relief_by

    def _drain(self) -> None:
        self.stopped_at = self.stopped_at or time.monotonic()
        if self.service is not None:
            self.service.draining = True
            self.service.publish()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the main loop; what is to be told or done at a time of its own comes after it."""
        super().wait_for_and_dispatch_events(min(timeout, TICK))
        if self.stop_at and time.monotonic() >= self.stop_at:
            self.alive = False
        if self.relief_by and self.alive and not self._awaits_relief():
            self._drain()
            self.alive = False
        if not self.alive and not self._accepting:
            self._close_doors()
        if self.service is None:
            return
        if time.monotonic() >= self.publish_at:
            self.publish_at = time.monotonic() + TICK / 2
            self.service.publish()
        if self.service.fatal and not self.shared.board.started:
            self.log.error(self.service.fatal)
            logging.shutdown()
            os._exit(WORKER_BOOT_ERROR)  # the master takes it for the end of the server, as nothing else
        if self.service.lost and self.alive:
            self.log.warning("The supervisor of the model processes is gone; this worker makes way for a new one.")
            self.alive, self.stopped_at = False, time.monotonic()

    def _close_doors(self) -> None:
        """Take whoever has connected, and listen no more: gunicorn would let others wait in front of a closed door."""
        for door in self.sockets:
            while select.select([door], [], [], 0)[0]:
                self.accept(door)
            door.close()
        self.sockets.clear()

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
