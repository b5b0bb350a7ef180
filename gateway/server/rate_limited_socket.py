"""Connections whose waits for bytes, in either direction, are bounded by a timeout and a minimum rate.

A request that waits for a slow client lends its thread to others, and its place too where it has one.
"""

import contextlib
import errno
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol

from gateway.config import MiB, Settings

SLICE = 1.0
"""Seconds of one wait; the connection checks its limits after each."""
LEND_AFTER = 1.0
"""Seconds for which a request waits for its client before its thread is lent."""
BRISK = 1 * MiB
"""Bytes per second from which a client does not count as slow: a CT series in about a minute."""


WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a socket raises that does not wait."""


class Place(Protocol):
    """An admitted request's place."""

    def lend(self) -> None:
        """Let another request use it."""


class Threads(Protocol):
    """The threads that serve requests of one kind."""

    def lend(self, sock: "RateLimited") -> bool:
        """Let another thread run while that of ``sock`` waits for its client; return whether one may."""

    def reclaim(self, sock: "RateLimited") -> None:
        """End the loan: the thread of ``sock`` works again."""


class RateLimited:
    """A mixin for sockets that raise TimeoutError when the peer stalls or falls below the minimum rate.

    Its thread, one of ``threads``, and ``place`` are lent once the peer is slow. ``cut`` ends the connection at the
    next check. ``complete`` is set for an answer that reads no more of the body. A view gives its answer to
    ``watchers``, which leave a ``watcher`` for the worker, where it should wait without a thread.
    """

    settings = Settings()
    waited = 0.0
    moved = 0
    cut = False
    complete = False
    threads: Threads | None = None
    place: Place | None = None
    watchers: Any = None
    watcher: Any = None

    def start(self, threads: Threads | None = None) -> None:
        """Begin a request in one of ``threads``; earlier waits do not count."""
        self.threads, self.complete = threads, False
        self.transfer(None)

    def mark_complete(self) -> None:
        """Note that the answer reads no more of the body."""
        self.complete = True

    def transfer(self, place: Place | None) -> None:
        """Begin to wait for the peer, which may lend ``place``, or to work: the clock starts again."""
        self.waited, self.moved, self.cut, self.place = 0.0, 0, False, place
        if self.threads is not None:
            self.threads.reclaim(self)

    @property
    def rate(self) -> float:
        """Bytes per second of waiting."""
        return self.moved / max(self.waited, 1e-3)

    @property
    def slow(self) -> bool:
        """Return True if the peer keeps a thread waiting."""
        return self.waited >= LEND_AFTER and self.rate < BRISK

    def setblocking(self, flag: bool) -> None:
        """Block for at most ``read_timeout``, in slices. gunicorn calls this before it reads in a thread."""
        self.settimeout(self._slice if flag else 0.0)  # type: ignore[attr-defined]

    @property
    def _slice(self) -> float:
        return min(SLICE, self.settings.read_timeout)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive within the limits."""
        data: bytes = self._paced(super().recv, len, size, flags)  # type: ignore[misc]
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        """Receive into a buffer within the limits."""
        return int(self._paced(super().recv_into, int, buffer, size, flags))  # type: ignore[misc]

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send within the limits. Raises ConnectionAbortedError for a peer that does not read."""
        view = memoryview(data).cast("B")
        while view:
            try:
                view = view[self._paced(super().send, int, view, flags) :]  # type: ignore[misc]
            except TimeoutError as error:
                raise ConnectionAbortedError(errno.EPIPE, "the peer does not read its response") from error

    def receive(self, size: int) -> bytes | None:
        """Return what has arrived, at most ``size`` bytes, without waiting: None for nothing, b"" at the end."""
        try:
            return bytes(super().recv(size))  # type: ignore[misc]
        except WOULD_BLOCK:
            return None
        except OSError:
            return b""

    def _paced(self, move: Callable[..., Any], size: Callable[[Any], int], *args: Any) -> Any:
        """Call ``move``, slice by slice, until it has moved some bytes: ``size`` of its result."""
        first = began = time.monotonic()
        while True:
            try:
                moved = move(*args)
            except TimeoutError:
                if (self.gettimeout() or 0.0) < self._slice:  # type: ignore[attr-defined]
                    raise  # gunicorn asked for a shorter wait
                began = self._account(0, began, judge=False)  # silence has a limit of its own
                if began - first >= self.settings.read_timeout:
                    raise
            else:
                self._account(size(moved), began)
                return moved

    def _account(self, count: int, began: float, *, judge: bool = True) -> float:
        now = time.monotonic()
        self.waited += now - began
        self.moved += count
        settings = self.settings
        late = judge and self.waited > settings.rate_grace and self.moved < settings.min_rate * self.waited
        if self.cut or late:
            raise TimeoutError("the peer is slower than the minimum rate")
        if self.slow and self.threads is not None and self.threads.lend(self) and self.place is not None:
            self.place.lend()
        return now


class RateLimitedSocket(RateLimited, socket.socket):
    """A plain connection, which also sends files without a copy."""

    def send_file(self, descriptor: int, start: int, count: int) -> None:
        """Send ``count`` bytes of a file within the limits (sendfile(2)).

        Raises ConnectionAbortedError for a peer that does not read, ValueError for a file that ends early.
        """
        end = start + count
        while start < end:
            try:
                sent = self._paced(self._send_piece, int, descriptor, start, end - start)
            except TimeoutError as error:
                raise ConnectionAbortedError(errno.EPIPE, "the peer does not read its response") from error
            if not sent:
                raise ValueError("a file ended before its size")
            start += sent

    def _send_piece(self, descriptor: int, start: int, count: int) -> int:
        """Wait until the peer reads, for a slice at most, and send what it takes. Raises TimeoutError."""
        while True:
            try:
                return os.sendfile(self.fileno(), descriptor, start, count)
            except BlockingIOError:
                waiting = select.poll()
                waiting.register(self, select.POLLOUT)
                if not waiting.poll(1000 * (self.gettimeout() or 0.0)):
                    raise TimeoutError from None


class RateLimitedTLSSocket(RateLimited, ssl.SSLSocket):  # type: ignore[misc]
    """A connection in TLS."""

    def shutdown(self, how: int) -> None:
        """End TLS too (close_notify, RFC 8446 6.1), if that needs no waiting."""
        if not self.getblocking():
            with contextlib.suppress(OSError, ValueError):
                self.unwrap()
        super().shutdown(how)
