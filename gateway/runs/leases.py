"""Leases of other processes as this one sees them: which have ended, although a clock was set or a database away."""

from collections.abc import Mapping

LEAST_DOUBT = 5.0
"""Seconds that a look may be late, or a clock be set, without doubt: looks are a second apart, more on a busy host."""


class Leases:
    """The leases that this process has seen, by the keys of runs.

    A lease ends at a time of a clock that may be set. So one that was not renewed for its whole duration, by the time
    that passes here, has ended too. Where the clock has jumped, or this process has seen no lease for a while, it waits
    for the time in which a living process renews: the clock may have been set forward, or nobody reached the database.
    """

    def __init__(self, duration: float) -> None:
        """``duration`` in seconds of a lease, which is renewed three times in it."""
        self._duration, self._wait, self._doubt = duration, duration / 2, max(LEAST_DOUBT, duration * 2 / 3)
        self._first_seen: dict[str, tuple[float, float]] = {}
        self._looked_at: float | None = None
        self._offset = 0.0
        self._wait_until = 0.0

    def ended(self, leases: Mapping[str, float], now: float, elapsed: float) -> dict[str, float]:
        """Return those of ``leases``, ends by keys, that have ended, with their ends.

        ``now`` is the time by which leases end, in seconds since 1970; ``elapsed`` is ``time.monotonic``'s.
        """
        if self._looked_at is not None and self._is_doubtful(now, elapsed):
            self._wait_until = elapsed + self._wait
        self._looked_at, self._offset = elapsed, now - elapsed
        seen = self._first_seen
        self._first_seen = {
            key: seen[key] if key in seen and seen[key][0] == until else (until, elapsed)
            for key, until in leases.items()
        }
        if elapsed < self._wait_until:
            return {}
        old = elapsed - self._duration
        return {key: until for key, (until, first) in self._first_seen.items() if until <= now or first <= old}

    def _is_doubtful(self, now: float, elapsed: float) -> bool:
        assert self._looked_at is not None
        silent, jump = elapsed - self._looked_at, abs(now - elapsed - self._offset)
        return max(silent, jump) > self._doubt
