"""Detection of clients that have disconnected."""

import contextlib
import select
from typing import Any

CLOSED = select.POLLHUP | select.POLLERR | select.POLLNVAL if hasattr(select, "poll") else 0
"""What poll reports of a connection that was reset, or closed in both directions."""


ENDED = getattr(select, "POLLRDHUP", 0)
"""What it reports of a client that sends no more: one that has closed, or only its own direction (half-close)."""


KNOCKED = "gateway.knocked"


KNOCK = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Answered by a closed connection with a reset, read over by every client that waits (RFC 9110 15.2). No other interim
status will do: Python's http.client takes the first one that is not 100 for the response."""


def client_disconnected(environ: dict[str, Any]) -> bool:
    """Return whether the client of this request has closed its connection.

    Call it while nothing of the response has been sent. A client may end its own direction and wait for the response
    (RFC 9112 9.6), which looks like a close until something is sent to it. Never true where the server does not show
    its connection.
    """
    connection = environ.get("gunicorn.socket")
    if not CLOSED or connection is None or connection.fileno() < 0:
        return False
    poller = select.poll()
    poller.register(connection.fileno(), CLOSED | ENDED)
    events = poller.poll(0)
    if events and events[0][1] & CLOSED:
        return True
    if events and KNOCKED not in environ and environ.get("SERVER_PROTOCOL") == "HTTP/1.1":
        environ[KNOCKED] = True
        with contextlib.suppress(OSError):
            connection.send(KNOCK)
    return False
