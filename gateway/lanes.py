"""Lanes of requests: so many threads work at those of one kind, and more while some wait for slow clients."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from gateway.pacing import Paced


class Rider(Protocol):
    """A connection whose request is complete enough for a thread."""

    sock: Paced


class Lane:
    """The connections of one kind: those in threads, and those that wait for one.

    All but ``lend`` is called by the worker's main thread.
    """

    def __init__(self, threads: int, spare: int, start: Callable[[Rider], None], wake: Callable[[], None]) -> None:
        """``start`` has a thread take a connection; ``wake`` has the main thread call ``go``.

        At most ``spare`` threads more run while as many wait for slow clients.
        """
        self.threads = threads
        self.waiting: deque[Rider] = deque()
        self.busy = 0
        self._spare, self._start, self._wake = spare, start, wake
        self._lent: set[Paced] = set()
        self._lock = threading.Lock()

    @property
    def working(self) -> int:
        """Requests that keep a thread from others."""
        return self.busy - len(self._lent)

    def join(self, rider: Rider) -> None:
        """Have a thread take the connection, as soon as one is free."""
        self.waiting.append(rider)
        self.go()

    def go(self) -> None:
        """Start those that wait, as far as threads are free."""
        while self.waiting and self.working < self.threads:
            self.busy += 1
            rider = self.waiting.popleft()
            rider.sock.start(Loan(self, rider.sock))
            self._start(rider)

    def leave(self, rider: Rider) -> None:
        """A thread has finished with the connection."""
        with self._lock:
            self._lent.discard(rider.sock)
        self.busy -= 1
        self.go()

    def lend(self, sock: Paced) -> bool:
        """Let another thread run while this connection is waited for; return whether one may.

        Where as many wait as may, and other requests wait for a thread, the slowest connection is cut.
        """
        with self._lock:
            if sock in self._lent:
                return True
            if len(self._lent) >= self._spare:
                min((*self._lent, sock), key=lambda one: one.rate).cut = bool(self.waiting)
                return False
            self._lent.add(sock)
        self._wake()
        return True

    def reclaim(self, sock: Paced) -> None:
        """The connection is waited for no longer: its thread works."""
        with self._lock:
            self._lent.discard(sock)


class Loan:
    """The thread of one request, which may be lent."""

    def __init__(self, lane: Lane, sock: Paced) -> None:
        self._lane, self._sock = lane, sock

    def lend(self) -> bool:
        """See gateway.pacing.Thread."""
        return self._lane.lend(self._sock)

    def reclaim(self) -> None:
        """See gateway.pacing.Thread."""
        self._lane.reclaim(self._sock)
