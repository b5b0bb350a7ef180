"""Limits on each caller, over all workers of a host: a token bucket for the rate, a count for concurrency.

Several hosts behind one address share the buckets of rates where they have a database for them. Otherwise, and while
that is away, each host grants its part, so that all together grant no more than the limits. A caller above its limits
is refused once its head is read, and delays no other caller.
"""

import math
import time
from collections.abc import Callable

from gateway.access.shared_table import Row, SharedTable
from gateway.config import Settings
from gateway.errors import TooManyRequests, Unavailable

RETRY_AFTER = 2
"""Retry-After in seconds of a caller with too many requests in flight: about the time of one inference."""

ROUNDING = 1e-9
"""Part of a token that sums of seconds may lose: a caller that waits for its Retry-After is admitted."""

TakeToken = Callable[[str], float]
"""Takes a token of a caller's bucket; returns 0.0, or the seconds until there is one. Raises Unavailable."""


class CallerLimits:
    """The limits of each caller."""

    shared_bucket: TakeToken | None = None
    """Takes tokens of the buckets that all hosts share; None where there are none."""

    def __init__(self, settings: Settings, table: SharedTable, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` returns the same seconds in all processes that share ``table``."""
        hosts = self._hosts = max(1, settings.caller_hosts)
        self._rate = settings.caller_rate / 60 / hosts  # tokens a second
        self._burst = max(1.0, settings.caller_burst / hosts)
        self._concurrency = settings.caller_concurrency and max(1, settings.caller_concurrency // hosts)
        self._table, self._clock = table, clock

    def enter(self, name: str) -> Callable[[], None] | None:
        """Admit a request of the caller; return a function to call when it ends, or None without limits.

        Raises TooManyRequests for a caller above its rate or concurrency; Unavailable for more concurrent callers than
        the table has rows.
        """
        if not (self._rate or self._concurrency):
            return None
        shared = self.shared_bucket if self._rate else None
        with self._table.locked():
            row = self._row(name)
            self._check_concurrency(name, row)
            if shared is None:
                self._take_token(name, row)
            self._table.write(row)
            self._table.add(row, +1)
        leave = _once(lambda: self._leave(row))
        try:
            if shared is not None:
                self._take_shared(name, shared)
        except BaseException:
            leave()
            raise
        return leave

    def _row(self, name: str) -> Row:
        """Return the caller's row, its bucket filled up to now."""
        now = self._clock()
        idle_before = now - (self._burst / self._rate if self._rate else 0)
        row = self._table.row(name, idle_before=idle_before)
        if row is None:
            raise Unavailable("More callers are active than the gateway can count; try again.", retry_after=RETRY_AFTER)
        full = not row.stamp or not self._rate
        row.tokens = self._burst if full else min(self._burst, row.tokens + (now - row.stamp) * self._rate)
        row.stamp = now
        return row

    def _check_concurrency(self, name: str, row: Row) -> None:
        if self._concurrency and self._table.at_work(row, at_least=self._concurrency):
            raise TooManyRequests(
                f"caller_concurrency is {self._concurrency} here; wait for a request of this caller to end.",
                retry_after=RETRY_AFTER,
                private=f"caller {name}",
            )

    def _take_shared(self, name: str, take: TakeToken) -> None:
        """Take a token of all hosts; while their database is away, one of this host's part."""
        try:
            wait = take(name)
        except Unavailable:
            with self._table.locked():
                row = self._row(name)
                self._take_token(name, row)
                self._table.write(row)
        else:
            if wait > 0:
                raise self._too_fast(name, self._rate * self._hosts, wait)

    def _take_token(self, name: str, row: Row) -> None:
        if not self._rate:
            return
        if row.tokens < 1 - ROUNDING:
            raise self._too_fast(name, self._rate, (1 - row.tokens) / self._rate)
        row.tokens -= 1

    def _too_fast(self, name: str, rate: float, wait: float) -> TooManyRequests:
        detail = f"caller_rate is {rate * 60:.3g} requests a minute here."
        return TooManyRequests(detail, retry_after=max(1, math.ceil(wait)), private=f"caller {name}")

    def _leave(self, row: Row) -> None:
        with self._table.locked():
            self._table.add(row, -1)


def _once(call: Callable[[], None]) -> Callable[[], None]:
    pending = [call]

    def leave() -> None:
        if pending:
            pending.pop()()

    return leave
