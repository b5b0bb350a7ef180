"""Detection of clients that have disconnected."""

import contextlib
import select
from typing import Any

CLOSED = select.POLLHUP | select.POLLERR | select.POLLNVAL if hasattr(select, "poll") else 0
"""Events of poll for a connection that was reset, or closed in both directions."""


ENDED = getattr(select, "POLLRDHUP", 0)
"""The event for a client that sends no more: one that has closed, or only its own direction (half-close)."""


KNOCKED = "gateway.knocked"


KNOCK = b"HTTP/1.1 100 Continue\r\n\r\n"
"""A closed connection answers it with a reset; a waiting client ignores it (RFC 9110 15.2). No other interim status is
safe: Python's http.client reads the first one that is not 100 as the response."""


def client_disconnected(environ: dict[str, Any]) -> bool:
    """Return whether the client of this request has closed its connection.

    Call it while nothing of the response has been sent. A client may end its own direction and wait for the response
    (RFC 9112 9.6), which looks like a close until something is sent to it. Always False where the server does not
    expose its connection.
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
