"""Until when a caller waits, and whether it is still there."""

import math
import re
import select
from typing import Any

from gateway.errors import RequestError

TIMEOUT_HEADER = "X-Request-Timeout"
"""Seconds from a request's head to its answer: asked for in a request, and as granted in the answer."""
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.IGNORECASE)
"""As JSON has it, and not all that Python takes for one."""
GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR | select.POLLNVAL
"""What the poller says of a connection whose other end has been closed."""


def granted_timeout(environ: dict[str, Any], most: float) -> float:
    """Seconds that this request gets: what it asks for, at most ``most``. Raises RequestError for no number."""
    asked = environ.get("HTTP_X_REQUEST_TIMEOUT")
    if asked is None:
        return most
    seconds = float(asked) if NUMBER.fullmatch(asked) else math.nan
    if not seconds > 0 or math.isinf(seconds):
        raise RequestError(f"{TIMEOUT_HEADER} should be a number of seconds above 0, such as 30.")
    return min(seconds, most)


def gone(environ: dict[str, Any]) -> bool:
    """Whether the client of this request has closed its connection; never true where the server does not show it."""
    connection = environ.get("gunicorn.socket")
    if not hasattr(select, "poll") or connection is None or connection.fileno() < 0:
        return False
    poller = select.poll()
    poller.register(connection.fileno(), GONE)
    return bool(poller.poll(0))
