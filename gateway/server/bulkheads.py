"""Bulkheads: a number of threads for the requests of one kind, and more while some of them wait for slow clients."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from gateway.server.rate_limited_socket import RateLimited


class ReadyConnection(Protocol):
    """A connection whose request is complete enough for a thread."""

    sock: RateLimited


class Bulkhead:
    """The connections of one kind: those in threads, and those that wait for one.

    All but ``lend`` is called by the worker's main thread.
    """

    def __init__(
        self, threads: int, spare: int, start: Callable[[ReadyConnection], None], wake: Callable[[], None]
    ) -> None:
        """``start`` serves a connection in a thread; ``wake`` has the main thread call ``go``.

        While threads wait for slow clients, as many others run, at most ``spare``.
        """
        self.threads = threads
        self.waiting: deque[ReadyConnection] = deque()
        self.busy = 0
        self._spare, self._start, self._wake = spare, start, wake
        self._lent: set[RateLimited] = set()
        self._lock = threading.Lock()

    @property
    def working(self) -> int:
        """Requests that occupy a thread."""
        return self.busy - len(self._lent)

    @property
    def requests(self) -> int:
        """Requests that occupy a thread, or wait for one."""
        return self.busy - len(self._lent) + len(self.waiting)

    def join(self, connection: ReadyConnection) -> None:
        """Serve the connection as soon as a thread is free."""
        self.waiting.append(connection)
        self.go()

    def go(self) -> None:
        """Start pending connections while threads are free."""
        while self.waiting and self.working < self.threads:
            self.busy += 1
            connection = self.waiting.popleft()
            connection.sock.start(self)
            self._start(connection)

    def leave(self, connection: ReadyConnection) -> None:
        """Release the thread of the connection."""
        self.reclaim(connection.sock)
        self.busy -= 1
        self.go()

    def lend(self, sock: RateLimited) -> bool:
        """Let another thread run while this connection waits for its client; return whether one may.

        If all spare threads run and requests are pending, the slowest connection is cut.
        """
        with self._lock:
            if sock in self._lent:
                return True
            if len(self._lent) >= self._spare:
                min((*self._lent, sock), key=lambda lent: lent.rate).cut = bool(self.waiting)
                return False
            self._lent.add(sock)
        self._wake()
        return True

    def reclaim(self, sock: RateLimited) -> None:
        """End the loan of a connection: its thread works again."""
        if sock in self._lent:  # by this thread: others only add their own
            with self._lock:
                self._lent.discard(sock)
