"""The state of one answer that waits, without I/O: what is to be sent, and when something is due."""

import math
import time
from typing import Any

from gateway.endpoints.waiting import KEEP_ALIVE, KEEP_ALIVE_SECONDS, Application, DuplexFeed, Feed, Piece
from gateway.server.request_heads import Connection

LAST_CHUNK = b"0\r\n\r\n"
"""The end of a chunked body (RFC 9112 7.1)."""
READ_AHEAD = 64 * 1024
"""Bytes pending for a client of a conversation from which on it is not read: one that pings and never reads."""


class Watcher:
    """One answer that waits: what is to be sent, and when something is due. Times are of ``time.monotonic``.

    It ends with its feed, or at ``until``. A stream has no ``resume``; with one, nothing is sent before. The client of
    a ``conversation`` is read too.
    """

    __slots__ = (
        *("after", "chunked", "conn", "conversation", "drain_by", "due", "ended", "environ", "feed", "lost", "pending"),
        *("polled", "reads", "response", "resume", "started", "timeout", "until", "waits"),
    )

    def __init__(
        self,
        feed: Feed,
        after: int,
        response: Any,
        environ: dict[str, Any],
        *,
        timeout: float = math.inf,
        chunked: bool = False,
        resume: Application | None = None,
        until: float = math.inf,
        conversation: DuplexFeed | None = None,
    ) -> None:
        """``timeout`` is the seconds in which a client has to read what is pending."""
        self.conversation = conversation
        self.feed, self.after = feed, after
        self.response, self.environ, self.started = response, environ, time.monotonic()
        self.timeout, self.chunked, self.resume = timeout, chunked, resume
        self.conn: Connection
        self.pending = b""
        self.until, self.drain_by = until, math.inf
        self.due = until if resume else min(until, self.started + KEEP_ALIVE_SECONDS)
        self.ended = self.lost = False
        self.waits = True
        self.polled, self.reads = 0, True

    @property
    def over(self) -> bool:
        """Return True once all is sent."""
        return self.ended and not self.pending

    def take(self, piece: Piece, now: float) -> None:
        """Add a piece of the feed."""
        self.after = piece.after
        if piece.data:
            self.add(piece.data, now)
        if piece.ended:
            self.end(now)

    def add(self, data: bytes, now: float) -> None:
        """Add bytes that are to be sent."""
        self._put(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data, now)

    def end(self, now: float) -> None:
        """End the answer behind what is pending."""
        ended, self.ended = self.ended, True
        if self.chunked and not ended:
            self._put(LAST_CHUNK, now)

    def _put(self, data: bytes, now: float) -> None:
        if not self.pending:
            self.drain_by = now + self.timeout
        self.pending += data
        self._schedule(now)

    def _schedule(self, now: float) -> None:
        drain_by, until = self.drain_by if self.pending else math.inf, math.inf if self.ended else self.until
        self.due = min(now + KEEP_ALIVE_SECONDS, drain_by, until)

    def sent(self, count: int) -> None:
        """Note that the first ``count`` bytes of what is pending have been sent."""
        self.pending = self.pending[count:]

    def expire(self, now: float) -> None:
        """Do what is due. Raises TimeoutError for a client that does not read."""
        if self.pending and now >= self.drain_by:
            raise TimeoutError
        if now >= self.until:
            self.end(now)
        elif self.conversation is not None:
            self.conversation.keep_alive(now)
        elif not self.pending:
            self.add(KEEP_ALIVE, now)
        self._schedule(now)

    @property
    def reading(self) -> bool:
        """Return True while bytes of the client are wanted."""
        return self.reads and (self.conversation is None or len(self.pending) < READ_AHEAD)
