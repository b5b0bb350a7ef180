"""The rate of each caller over all hosts that share PostgreSQL: one bucket of tokens for each, in the index.

A request takes its token by one statement outside of the writer's turn, and by the database's clock. The table is
unlogged, so no disk is waited for: after a crash of the database the buckets are full.
"""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy import Connection, delete, text

from gateway.config import Settings
from gateway.errors import StorageFull, Unavailable
from gateway.studies.index import Index
from gateway.studies.tables import caller_rates

logger = logging.getLogger("gateway")

ASKING = 4
"""Requests of one process that ask the database at once. A database that hangs takes no more threads than these."""
TURN_SECONDS = 1.0
"""Seconds that a request waits for its turn to ask: an answer takes a millisecond."""
REST_SECONDS = 5.0
"""Seconds for which a database that gave no answer is not asked again."""

_FILLED = "least(:burst, caller_rates.tokens + greatest(0, excluded.at - caller_rates.at) * :rate)"
_TAKE = text(f"""
INSERT INTO caller_rates (caller, tokens, at) VALUES (:caller, :burst - 1, extract(epoch FROM clock_timestamp()))
ON CONFLICT (caller) DO UPDATE SET tokens = {_FILLED} - 1, at = greatest(caller_rates.at, excluded.at)
WHERE {_FILLED} >= 1 RETURNING tokens
""")
_WAIT = text("""
SELECT greatest(0, 1 - tokens) / :rate - (extract(epoch FROM clock_timestamp()) - at)
FROM caller_rates WHERE caller = :caller
""")


class CallerRates:
    """The buckets of all callers. Any number of processes on any number of hosts take from them."""

    def __init__(self, index: Index, settings: Settings, elapsed: Callable[[], float] = time.monotonic) -> None:
        """``elapsed`` gives seconds of this process."""
        self._index, self._elapsed = index, elapsed
        self._bounds = {"rate": settings.caller_rate / 60, "burst": float(max(1, settings.caller_burst))}
        self._asking = threading.Semaphore(ASKING)
        self._rests_until = float("-inf")

    def take(self, caller: str) -> float:
        """Take a token of a caller; return 0.0, or the seconds until there is one. Raises Unavailable."""
        if self._elapsed() < self._rests_until:
            raise Unavailable("The database was not reached a moment ago.")
        try:
            if not self._asking.acquire(timeout=TURN_SECONDS):
                raise Unavailable("The database does not answer.", private="index: no turn to ask")
            try:
                return self._take(caller)
            finally:
                self._asking.release()
        except (StorageFull, Unavailable) as error:
            self._rests_until = self._elapsed() + REST_SECONDS
            logger.warning("each host grants its part of the callers' rates for a while: %s", error.private)
            raise Unavailable("The database takes no token.", private=error.private) from error

    def _take(self, caller: str) -> float:
        values = {"caller": caller, **self._bounds}
        with self._index.statements() as connection:
            if connection.execute(_TAKE, values).first() is not None:
                return 0.0
            wait = connection.execute(_WAIT, values).scalar_one_or_none()
        return max(0.001, float(wait or 0.0))


def prune(connection: Connection, before: float) -> None:
    """Remove the buckets that nothing was taken from since ``before``; they are full."""
    connection.execute(delete(caller_rates).where(caller_rates.c.at < before))
