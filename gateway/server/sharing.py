"""A worker that shares its places with the others: a request is refused only if no worker has a free place."""

import time
from collections import deque
from selectors import EVENT_READ
from typing import Any

from gateway.server.connections import BoundedWorker
from gateway.server.handover import Handover
from gateway.server.rate_limited_socket import RateLimitedSocket
from gateway.server.request_heads import Connection

PATIENCE = 0.01
"""Seconds that a request waits for a place before it is refused: a client may send its next request before the worker
that answered it has freed the place. Under overload each refusal is as late."""


class SharingWorker(BoundedWorker):
    """Passes requests to other workers when it has no free place, and accepts theirs when it has one."""

    handover: Handover

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.places: int = self.cfg.threads - self.settings.reserved_threads
        self._has_room = False
        """Whether it had a free place at the end of the last turn, and polls for requests of others."""
        self._unplaced: deque[tuple[float, Connection]] = deque()
        """Requests without a place anywhere, each with the time at which it is refused."""

    @property
    def occupied(self) -> int:
        """Places in use by the application's own count."""
        return 0

    @property
    def has_room(self) -> bool:
        """Return True if this worker could begin a request now."""
        return bool(self.work.requests < self.places and self.occupied < self.places)

    @property
    def _others_have_room(self) -> bool:
        return self.handover.others_have_room(self.age)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Run one turn of the main loop, then tell the other workers whether there is a free place here."""
        super().wait_for_and_dispatch_events(min(timeout, PATIENCE) if self._unplaced else timeout)
        self._place()
        # A worker polls the shared queue only with a free place: otherwise each request in it would wake all workers.
        had, self._has_room = self._has_room, self.alive and self.has_room
        self.handover.publish(self.age, has_room=self._has_room)
        if self._has_room and not had:
            self.poller.register(self.handover, EVENT_READ, self._on_handover)
        elif had and not self._has_room:
            self.poller.unregister(self.handover)
        if self.alive and not self._has_room:  # with room, gunicorn's loop accepts again
            self.set_accept_enabled(self.nr_conns < self.worker_connections)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections or not: not while only other workers have free places."""
        super().set_accept_enabled(enabled and (self._has_room or not self._others_have_room))

    def _on_handover(self, _fileobj: Any) -> None:
        if self.has_room:
            self.receive_request()

    def receive_request(self) -> bool:
        """Accept one request from another worker; return whether there was one."""
        for received, head in self.handover.receive():
            conn = self.connection(received, received.getsockname(), head)
            if conn is not None:
                self._dispatch(conn)
            return True
        return False

    def start(self, conn: Connection) -> None:
        """Start the request in a thread once there is a place for it."""
        if not self.alive:
            super().start(conn)
        else:
            self._unplaced.append((time.monotonic() + PATIENCE, conn))
            self._place()

    def _place(self) -> None:
        """Start the requests that have a place now, here or in another worker, and those that have waited too long.

        The application refuses a request without a place, and answers one that needs no place.
        """
        while self._unplaced:
            overdue, conn = self._unplaced[0]
            if self.has_room or not self.alive or time.monotonic() >= overdue:
                super().start(conn)
            elif not (self._others_have_room and self._send(conn)):
                return
            self._unplaced.popleft()

    def _send(self, conn: Connection) -> bool:
        """Pass a request to another worker, except over TLS, whose state cannot be passed."""
        if not (isinstance(conn.sock, RateLimitedSocket) and self.handover.send(conn.sock, bytes(conn.head))):
            return False
        self.close(conn)
        return True
