"""Errands: work that lies in the index until it is due, leased to one process, and done in a thread of its own."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Connection

from gateway.observe.logs import describe_error
from gateway.studies.index import Index

logger = logging.getLogger("gateway")

LOOK = 5.0
"""Seconds between two looks into the index, for what no signal announced here."""
LAST_SECONDS = 20.0
"""Seconds that a stopping process waits for tries in flight; others repeat what is not finished by then."""

Item = TypeVar("Item")


class Errands(Protocol[Item]):
    """One kind of errand."""

    name: str
    """A word for threads and log lines."""

    def due_at(self, connection: Connection) -> float | None:
        """Return when the next is due, in seconds since 1970; None where none waits."""

    def claim(self, connection: Connection, now: float, lease: float, busy: Collection[str]) -> Item | None:
        """Take the one that is due longest, for ``lease`` seconds; None where there is none but to ``busy`` ones."""

    def renew(self, connection: Connection, item: Item, ends: float, until: float) -> None:
        """Prolong the lease that ends at ``ends``, unless its try has an outcome by now or another was begun."""

    def receiver(self, item: Item) -> str:
        """Return where it goes; one try at a time goes there from one process."""

    def attempt(self, item: Item, stopped: Callable[[], bool]) -> None:
        """Try once, and record the outcome. A try that goes on for long ends early once ``stopped`` is True."""


@dataclass
class _Flight(Generic[Item]):
    """A try that goes on; ``leased_at`` is when its lease began, or was renewed."""

    item: Item
    leased_at: float


class ErrandRunner(Generic[Item]):
    """Runs the errands of one kind until it is stopped. Any number of runners, of any processes, share one index.

    At most ``places`` are in flight at once, and one to each receiver: one that is slow or away delays what goes to it
    alone.
    """

    def __init__(
        self,
        index: Index,
        errands: Errands[Item],
        clock: Callable[[], float],
        *,
        lease: float,
        places: int = sys.maxsize,
        last_seconds: float = LAST_SECONDS,
    ) -> None:
        """``lease`` is in seconds, after which another process repeats a try that nobody finished; it is renewed while
        this process lives. ``last_seconds`` is how long ``stop`` waits for what is in flight.
        """
        self._index, self._errands, self._clock = index, errands, clock
        self._lease, self._places, self._last_seconds = lease, places, last_seconds
        self._longest_pause = min(LOOK, lease / 3)
        self._stopped, self._news = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._flying: dict[threading.Thread, _Flight[Item]] = {}
        self._thread = threading.Thread(target=self._run, name=f"gateway-{errands.name}-errands", daemon=True)

    def start(self) -> None:
        """Begin to look; once is enough."""
        with self._lock:
            if self._thread.ident is None:
                self._thread.start()

    def wake(self) -> None:
        """Look into the index now; returns at once."""
        self._news.set()

    def stop(self) -> None:
        """Begin no more tries, and wait for those in flight."""
        self._stopped.set()
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()
        deadline = time.monotonic() + self._last_seconds
        with self._lock:
            flying = list(self._flying)
        for thread in flying:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._news.clear()
            try:
                pause = self._turn()
            except Exception as error:  # of the index, or no thread can be started; the next turn may do better
                logger.warning("%s: not looked after: %s", self._errands.name, describe_error(error))
                pause = LOOK
            self._news.wait(pause)

    def _turn(self) -> float:
        """Begin what is due and free; return the seconds until the next look."""
        self._renew()
        while not self._stopped.is_set() and len(busy := self._busy()) < self._places:
            now = self._clock()
            with self._index.reading() as connection:
                due_at = self._errands.due_at(connection)
            if due_at is None:
                break
            if due_at > now:
                return min(self._longest_pause, due_at - now)
            with self._index.writing() as connection:
                now = self._clock()  # the turn to write may have taken as long as a lease
                item = self._errands.claim(connection, now, self._lease, busy)
            if item is None:  # what is due waits for a receiver, whose try has this look again
                break
            self._begin(item, now)
        return self._longest_pause

    def _busy(self) -> list[str]:
        with self._lock:
            return [self._errands.receiver(flight.item) for flight in self._flying.values()]

    def _renew(self) -> None:
        """Renew the leases of what is in flight, three times in their duration."""
        now = self._clock()
        with self._lock:
            old = [flight for flight in self._flying.values() if now >= flight.leased_at + self._lease / 3]
        if old:
            with self._index.writing() as connection:
                now = self._clock()
                for flight in old:
                    self._errands.renew(connection, flight.item, flight.leased_at + self._lease, now + self._lease)
                    flight.leased_at = now

    def _begin(self, item: Item, now: float) -> None:
        name = f"gateway-{self._errands.name}"
        thread = threading.Thread(target=self._attempt, args=[item], name=name, daemon=True)
        with self._lock:  # a thread that ends at once waits for it
            thread.start()
            self._flying[thread] = _Flight(item, now)

    def _attempt(self, item: Item) -> None:
        try:
            self._errands.attempt(item, self._stopped.is_set)
        except Exception as error:  # of the index, or a fault of ours: its lease ends, and it is repeated
            logger.warning("%s: a try has no outcome: %s", self._errands.name, describe_error(error))
        finally:
            with self._lock:
                del self._flying[threading.current_thread()]
            self.wake()
