"""The deadline that a request asks for, and the one it is granted."""

import math
import re
from typing import Any

from gateway.errors import RequestError

TIMEOUT_HEADER = "X-Request-Timeout"
"""Seconds from a request's head to its answer: asked for in a request, and as granted in the answer."""
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.IGNORECASE)
"""As JSON has it, and not all that Python takes for one."""


def requested_timeout(environ: dict[str, Any]) -> float | None:
    """Return the seconds that a request asks for, None where it asks for none. Raises RequestError for no number."""
    text = environ.get("HTTP_X_REQUEST_TIMEOUT")
    if text is None:
        return None
    seconds = float(text) if NUMBER.fullmatch(text) else math.nan
    if not seconds > 0 or math.isinf(seconds):
        raise RequestError(f"{TIMEOUT_HEADER} should be a number of seconds above 0, such as 30.")
    return seconds
