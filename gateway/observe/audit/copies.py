"""Copies of records to places that may be slow or away: in a thread of their own, behind a queue with a bound."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.observe.audit.chain import Sealed

logger = logging.getLogger("gateway")

BATCH = 500
"""Records handed over at once; SQLite takes some 32,000 values in one statement, and a record has a dozen."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a place that failed is tried again; doubled each time."""
CLOSING_SECONDS = 5.0
"""How long the end of the process waits for what is still in the queue."""

OnFailure = Callable[[str], None]
"""Told the name of a sink for each attempt that failed, and for each record that was dropped."""


class Destination(Protocol):
    """A destination of copies."""

    name: str

    def write(self, records: Sequence[Sealed]) -> None:
        """Store the records; storing one twice is as storing it once. Raises where it could not."""

    def close(self) -> None:
        """Let go of connections."""


class Copies:
    """The queue before one place, and the thread that empties it."""

    def __init__(self, place: Destination, *, limit: int, on_failure: OnFailure) -> None:
        """``limit`` records wait at most; what comes beyond is dropped, and counted by ``on_failure``."""
        self.name = place.name
        self.failing = False
        self._place, self._limit, self._on_failure = place, limit, on_failure
        self._waiting: deque[Sealed] = deque()
        self._wake = threading.Condition()
        self._ended = False
        self._pid = -1

    def add(self, record: Sealed) -> None:
        """Queue one record; returns at once."""
        with self._wake:
            if len(self._waiting) < self._limit:
                self._waiting.append(record)
                self._start()
                self._wake.notify()
                return
        self._failed("its queue is full")

    def drain(self, seconds: float) -> bool:
        """Wait until the queue is empty, ``seconds`` at most; returns whether it is."""
        deadline = time.monotonic() + seconds
        while self._waiting and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self._waiting

    def close(self) -> None:
        """Wait a moment for what is in the queue, and end the thread."""
        if not self.drain(0.0 if self.failing else CLOSING_SECONDS):
            logger.warning("%d records of the audit did not reach %s", len(self._waiting), self.name)
        with self._wake:
            self._ended = True
            self._wake.notify()

    def _start(self) -> None:
        """Start the thread in this process, which may be a fork of the one that built this."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            threading.Thread(target=self._work, name=f"audit-{self.name}", daemon=True).start()

    def _work(self) -> None:
        pause = FIRST_PAUSE
        while batch := self._next():
            try:
                self._place.write(batch)
            except Exception as error:  # each library has its own for a place that is away
                self._failed(type(error).__name__)
                with self._wake:
                    self._wake.wait_for(lambda: self._ended, pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            self._succeeded(len(batch))
            pause = FIRST_PAUSE
        self._place.close()

    def _next(self) -> list[Sealed]:
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._ended)
            return [] if self._ended else list(self._waiting)[:BATCH]

    def _succeeded(self, count: int) -> None:
        with self._wake:
            for _ in range(count):
                self._waiting.popleft()
        if self.failing:
            self.failing = False
            logger.info("the audit's sink %s takes records again", self.name)

    def _failed(self, why: str) -> None:
        self._on_failure(self.name)
        if not self.failing:
            self.failing = True
            logger.warning("the audit's sink %s takes no records: %s", self.name, why)
