"""The number of examples of a property test, by tier."""

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "patient")
FAST = 15
"""Examples in ``make test-fast``: they find a broken property, and ``make test`` looks for rare cases."""


def examples(count: int) -> int:
    """Return ``count``, in the fast tier at most FAST. An explicit ``max_examples`` overrides the profile's."""
    return min(count, FAST) if PROFILE == "fast" else count
