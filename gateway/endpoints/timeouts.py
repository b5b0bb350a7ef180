"""The timeout that a request asks for, and the granted one."""

import math
import re
from typing import Any

from gateway.errors import RequestError

TIMEOUT_HEADER = "X-Request-Timeout"
"""Seconds from a request's head to its answer: requested in a request, granted in a response."""
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.IGNORECASE)
"""A number of JSON (RFC 8259 6); Python's ``float`` accepts more."""


def requested_timeout(environ: dict[str, Any]) -> float | None:
    """Return the requested seconds, None without the field. Raises RequestError for an invalid number."""
    text = environ.get("HTTP_X_REQUEST_TIMEOUT")
    if text is None:
        return None
    seconds = float(text) if NUMBER.fullmatch(text) else math.nan
    if not seconds > 0 or math.isinf(seconds):
        raise RequestError(f"{TIMEOUT_HEADER} should be a number of seconds above 0, such as 30.")
    return seconds
