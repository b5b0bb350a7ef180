"""The courier of one process: a thread for each receiver that something is due to, leased from the index."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Connection

from gateway.errors import GatewayError
from gateway.observe.logs import exception_frames
from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.index import Index

logger = logging.getLogger("gateway")

LEASE = 60.0
"""Seconds after which another process repeats a try that nobody finished; renewed while its process lives."""
LOOK = 5.0
"""Seconds between two looks into the index, for what no signal announced here."""
LAST_SECONDS = 20.0
"""Seconds that a stopping process waits for tries in flight; others repeat what is not finished by then."""

TRY_WORDS = {DeliveryState.DELIVERED: "delivered", DeliveryState.PENDING: "retried", DeliveryState.DEAD: "dead"}
"""What became of something by a try, as metrics and log name it."""

Item = TypeVar("Item")


class Errands(Protocol[Item]):
    """One kind of thing to deliver, which lies in the index."""

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
    thread: threading.Thread
    leased_at: float


class Courier(Generic[Item]):
    """Delivers until it is stopped. Any number of couriers, of any processes, share one index.

    Receivers are those of the operator's files, and bound the number of threads: one that is slow or away delays what
    goes to it alone.
    """

    def __init__(self, index: Index, errands: Errands[Item], clock: Callable[[], float] = time.time) -> None:
        self._index, self._errands, self._clock = index, errands, clock
        self._stopped, self._news = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._flying: dict[str, _Flight[Item]] = {}
        self._thread = threading.Thread(target=self._run, name=f"gateway-{errands.name}-courier", daemon=True)

    def start(self) -> None:
        """Begin to deliver; once is enough."""
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
        deadline = time.monotonic() + LAST_SECONDS
        with self._lock:
            flying = [flight.thread for flight in self._flying.values()]
        for thread in flying:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._news.clear()
            try:
                pause = self._turn()
            except Exception as error:  # of the index, or no thread can be started; the next turn may do better
                private = error.private if isinstance(error, GatewayError) else f"\n{exception_frames(error)}"
                logger.warning("%s: not looked after: %s %s", self._errands.name, type(error).__name__, private)
                pause = LOOK
            self._news.wait(pause)

    def _turn(self) -> float:
        """Begin what is due and free; return the seconds until the next look."""
        with self._index.reading() as connection:
            due_at = self._errands.due_at(connection)
        now = self._clock()
        self._renew(now)
        if due_at is None:
            return LOOK
        while due_at <= now and (item := self._claim(now)) is not None:
            self._begin(item, now)
        return min(LOOK, max(0.0, due_at - now)) or LOOK

    def _renew(self, now: float) -> None:
        with self._lock:
            old = [flight for flight in self._flying.values() if now >= flight.leased_at + LEASE / 3]
        if old:
            with self._index.writing() as connection:
                for flight in old:
                    self._errands.renew(connection, flight.item, flight.leased_at + LEASE, now + LEASE)
                    flight.leased_at = now

    def _claim(self, now: float) -> Item | None:
        with self._lock:
            busy = list(self._flying)
        if self._stopped.is_set():
            return None
        with self._index.writing() as connection:
            return self._errands.claim(connection, now, LEASE, busy)

    def _begin(self, item: Item, now: float) -> None:
        receiver, name = self._errands.receiver(item), f"gateway-{self._errands.name}"
        thread = threading.Thread(target=self._attempt, args=[item, receiver], name=name, daemon=True)
        with self._lock:  # a thread that ends at once waits for it
            thread.start()
            self._flying[receiver] = _Flight(item, thread, now)

    def _attempt(self, item: Item, receiver: str) -> None:
        try:
            self._errands.attempt(item, self._stopped.is_set)
        except Exception as error:  # of the index, or a fault of ours: its lease ends, and it is repeated
            private = error.private if isinstance(error, GatewayError) else f"\n{exception_frames(error)}"
            logger.warning("%s: a try has no outcome: %s %s", self._errands.name, type(error).__name__, private)
        finally:
            with self._lock:
                del self._flying[receiver]
            self.wake()
