"""The deadline of a request, and the presence of its client."""

import contextlib
import math
import re
import select
from typing import Any

from gateway.errors import RequestError

TIMEOUT_HEADER = "X-Request-Timeout"
"""Seconds from a request's head to its answer: asked for in a request, and as granted in the answer."""
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.IGNORECASE)
"""As JSON has it, and not all that Python takes for one."""
CLOSED = select.POLLHUP | select.POLLERR | select.POLLNVAL if hasattr(select, "poll") else 0
"""What poll reports of a connection that was reset, or closed in both directions."""
ENDED = getattr(select, "POLLRDHUP", 0)
"""What it reports of a client that sends no more: one that has closed, or only its own direction (half-close)."""
KNOCKED = "gateway.knocked"
KNOCK = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Answered by a closed connection with a reset, read over by every client that waits (RFC 9110 15.2). No other interim
status will do: Python's http.client takes the first one that is not 100 for the response."""


def requested_timeout(environ: dict[str, Any]) -> float | None:
    """Return the seconds that a request asks for, None where it asks for none. Raises RequestError for no number."""
    asked = environ.get("HTTP_X_REQUEST_TIMEOUT")
    if asked is None:
        return None
    seconds = float(asked) if NUMBER.fullmatch(asked) else math.nan
    if not seconds > 0 or math.isinf(seconds):
        raise RequestError(f"{TIMEOUT_HEADER} should be a number of seconds above 0, such as 30.")
    return seconds


def gone(environ: dict[str, Any]) -> bool:
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
