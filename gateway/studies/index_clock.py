"""The clock that all processes of a store share: PostgreSQL's where several hosts may have one, else this host's.

Leases, pauses and ages are moments that one host writes and another reads. Two hosts whose clocks differ by a minute
would take over what is not lost, or call a study complete that is arriving still.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Connection, text

from gateway.errors import GatewayError

MEASURE_SECONDS = 30.0
"""Between two looks at the database's clock: in that time two quartz clocks part by some milliseconds."""
STEP_SECONDS = 0.5
"""Seconds that the wall clock may gain or lose between two looks; more: it was set, or the host stood still."""


class IndexClock:
    """Seconds since 1970. Any thread may call it, also within a transaction."""

    def __init__(self, reading: Callable[[], AbstractContextManager[Connection]], *, shared: bool) -> None:
        """``reading`` opens a transaction of the index; ``shared`` where its database has the clock of all hosts."""
        self._reading, self._shared = reading, shared
        self._lock = threading.Lock()
        self._ahead = 0.0
        """Seconds by which the database's clock is ahead of this host's."""
        self._measured: tuple[float, float] | None = None
        """The time of this host and its monotonic time when ``_ahead`` was measured, or last tried to be."""

    def __call__(self) -> float:
        if self._shared and self._is_old() and self._lock.acquire(blocking=False):  # others go on with what is known
            try:
                self._measure()
            finally:
                self._lock.release()
        return time.time() + self._ahead

    def _is_old(self) -> bool:
        if self._measured is None:
            return True
        wall, passed = self._measured
        elapsed = time.monotonic() - passed
        return elapsed >= MEASURE_SECONDS or abs(time.time() - wall - elapsed) >= STEP_SECONDS

    def _measure(self) -> None:
        """Measure how far the database is ahead; where it does not answer, the former difference stays."""
        try:
            with self._reading() as connection:
                before = time.time()
                theirs = database_time(connection)
                after = time.time()
        except GatewayError:
            pass
        else:
            self._ahead = theirs - (before + after) / 2
        self._measured = time.time(), time.monotonic()


def database_time(connection: Connection) -> float:
    """Return the time of PostgreSQL now, not of the transaction's begin."""
    return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
