"""Whether a connection can be used for another request: only where the body of this one has been read to its end."""

import time
from typing import Any

from gunicorn.http.errors import ParseException

from gateway.server.request_heads import Connection

DRAIN_TIME = 0.002
"""Seconds a thread spends on the unread rest of a body to reuse the connection; gunicorn's 5 could occupy threads."""
DRAIN_BYTES = 1 << 20
"""Bytes of that rest at most: what the socket has received already is read within DRAIN_TIME."""


def announce_close(req: Any, conn: Connection) -> None:
    """Have the response to ``req`` say ``Connection: close`` where it is complete and the body has not arrived.

    A client that reads keep-alive sends its next request, which would be lost (RFC 9112 9.6).
    """
    closes = req.should_close

    def should_close() -> bool:
        if not closes() and conn.sock.complete:
            try:
                req.must_close = not is_read(conn)
            except (OSError, ParseException):  # a malformed chunk, of a request that is answered already
                req.must_close = True
        return bool(closes())

    req.should_close = should_close


def is_read(conn: Connection) -> bool:
    """Return True once the body of the request has been read to its end; what has arrived of it is dropped."""
    # A LengthReader counts its ``length`` down to 0, and a ChunkedReader drops its ``parser`` at the last chunk.
    # A body that was read whole needs no drain: a busy machine may miss the deadline and close a good connection.
    reader = getattr(getattr(conn.parser.mesg, "body", None), "reader", None)
    unread = getattr(reader, "length", getattr(reader, "parser", reader))
    if not unread:
        return True
    return bool(conn.parser.finish_body(deadline=time.monotonic() + DRAIN_TIME, max_bytes=DRAIN_BYTES))
