"""A connection on the clock: each wait for bytes, in either direction, is bounded by a timeout and a minimum rate."""

import socket
import time
from typing import Any

from gateway.config import Settings

HEAD_BYTES = 65536
"""Bytes of a head that the poller waits for; a longer one goes to gunicorn's parser and meets the limits there."""


class PacedSocket(socket.socket):
    """A socket that raises TimeoutError when its peer stalls or falls below the minimum rate."""

    settings = Settings()
    waited = 0.0
    moved = 0
    peeked = 0

    def start(self) -> None:
        """A new request: what was waited for before it does not count."""
        self.waited, self.moved, self.peeked = 0.0, 0, 0

    def setblocking(self, flag: bool) -> None:
        """Blocking means: for ``read_timeout`` at most. gunicorn calls this before it reads in a thread."""
        self.settimeout(self.settings.read_timeout if flag else 0.0)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive, on the clock."""
        began = time.monotonic()
        data = super().recv(size, flags)
        self._account(len(data), began)
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        """Receive into a buffer, on the clock."""
        began = time.monotonic()
        count = super().recv_into(buffer, size, flags)
        self._account(count, began)
        return count

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send, on the clock."""
        view = memoryview(data).cast("B")
        while view:
            began = time.monotonic()
            count = super().send(view, flags)
            self._account(count, began)
            view = view[count:]

    def peek(self) -> bytes | None:
        """What has come and is not read yet, at most HEAD_BYTES; None when nothing has, b"" at the end or a reset."""
        self.settimeout(0.0)
        try:
            return super().recv(HEAD_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _account(self, count: int, began: float) -> None:
        self.waited += time.monotonic() - began
        self.moved += count
        settings = self.settings
        if self.waited > settings.rate_grace and self.moved < settings.min_rate * self.waited:
            raise TimeoutError("the peer is slower than the minimum rate")
