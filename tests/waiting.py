"""Waiting for events, however busy the machine is: tests measure no time."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 120.0
"""Seconds until an expected event counts as missing; a passing test never waits for it."""

LONGEST_PAUSE = 0.08
"""Seconds between two looks at most: each may cost milliseconds of the processor that the event needs."""

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], seconds: float = PATIENCE) -> Found:
    """Wait until ``look`` returns a true value; return it."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while not (value := look()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return value
