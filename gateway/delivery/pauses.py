"""Growing pauses between the tries of a delivery."""

import random

FIRST_PAUSE, FACTOR = 5.0, 4.0
"""Seconds after the first failure, and how much longer each further pause is."""
JITTER = 0.25
"""Share of a pause by which it varies, so that what failed together is not repeated together."""


def pause(tries: int, longest: float, retry_after: float = 0.0) -> float:
    """Return the seconds after the failure of try number ``tries``, from 1: at most ``longest`` and its jitter.

    ``retry_after`` are seconds that the receiver asked for, observed up to ``longest``.
    """
    grown = min(FIRST_PAUSE * FACTOR ** min(tries - 1, 32), longest)
    jittered = grown * random.uniform(1 - JITTER, 1 + JITTER)
    return max(jittered, min(retry_after, longest))
