"""Waiting for events, however busy the machine is: tests measure no time."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 120.0
"""Seconds until an expected event counts as missing; a passing test never waits for it."""

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], seconds: float = PATIENCE) -> Found:
    """Wait until ``look`` returns a true value; return it."""
    deadline = time.monotonic() + seconds
    while not (value := look()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
    return value
