"""The courier of one process: threads that deliver webhooks which are due, each leased from the index."""

import logging
import threading
import time
from collections.abc import Callable

from gateway.delivery import webhook_rows
from gateway.delivery.reporting import Reporter, TryOutcome
from gateway.delivery.webhook_rows import Webhook
from gateway.errors import GatewayError
from gateway.observe.logs import exception_frames
from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.index import Index

logger = logging.getLogger("gateway")

LEASE = 120.0
"""Seconds after which another process repeats a try that nobody finished: three connections and one post take 30."""
LOOK = 5.0
"""Seconds between two looks into the index, for webhooks whose end no signal announced here."""
THREADS = 8
"""Webhooks that one process delivers at once, each to another origin: a slow receiver delays its own alone."""
LAST_SECONDS = 20.0
"""Seconds that a stopping process waits for tries in flight; others repeat what is not finished by then."""


WORDS = {DeliveryState.DELIVERED: "delivered", DeliveryState.PENDING: "retried", DeliveryState.DEAD: "dead"}
"""Outcomes as the metrics name them."""


class Courier:
    """Delivers webhooks until it is stopped. Any number of couriers, of any processes, share one index."""

    def __init__(
        self,
        index: Index,
        reporter: Reporter,
        count: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``count`` receives ``delivered``, ``retried`` or ``dead`` after each try."""
        self._index, self._reporter, self._count, self._clock = index, reporter, count, clock
        self._stopped, self._news = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._flying: dict[str, threading.Thread] = {}
        self._thread = threading.Thread(target=self._run, name="gateway-webhooks", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def wake(self) -> None:
        """Look into the index now; returns at once."""
        self._news.set()

    def stop(self) -> None:
        """Begin no more tries, and wait for those in flight."""
        self._stopped.set()
        self.wake()
        self._thread.join()
        deadline = time.monotonic() + LAST_SECONDS
        with self._lock:
            flying = list(self._flying.values())
        for thread in flying:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._news.clear()
            try:
                pause = self._turn()
            except Exception as error:  # of the index, or no thread can be started; the next turn may do better
                private = error.private if isinstance(error, GatewayError) else f"\n{exception_frames(error)}"
                logger.warning("webhooks were not looked after: %s %s", type(error).__name__, private)
                pause = LOOK
            self._news.wait(pause)

    def _turn(self) -> float:
        """Begin what is due and free; return the seconds until the next look."""
        with self._index.reading() as connection:
            backlog = webhook_rows.backlog(connection)
        now = self._clock()
        if backlog.next_at is None:
            return LOOK
        while backlog.next_at <= now and (delivery := self._claim(now)) is not None:
            self._begin(delivery)
        return min(LOOK, max(0.0, backlog.next_at - now)) or LOOK

    def _claim(self, now: float) -> Webhook | None:
        with self._lock:
            busy = list(self._flying)
        if len(busy) >= THREADS or self._stopped.is_set():
            return None
        with self._index.writing() as connection:
            return webhook_rows.claim(connection, now, LEASE, busy)

    def _begin(self, delivery: Webhook) -> None:
        thread = threading.Thread(target=self._deliver, args=[delivery], name="gateway-webhook", daemon=True)
        with self._lock:  # a thread that ends at once waits for it
            thread.start()
            self._flying[delivery.origin] = thread

    def _deliver(self, delivery: Webhook) -> None:
        try:
            self._settle(delivery, self._reporter.report(delivery, self._clock()))
        except GatewayError as error:  # its lease ends, and it is repeated
            logger.warning("the outcome of webhook %s was not stored: %s %s", delivery.id, error.code, error.private)
        finally:
            with self._lock:
                del self._flying[delivery.origin]
            self.wake()

    def _settle(self, delivery: Webhook, outcome: TryOutcome) -> None:
        with self._index.writing() as connection:
            webhook_rows.settle(connection, delivery, outcome.state, outcome.reason, self._clock() + outcome.pause)
        self._count(WORDS[outcome.state])
        level = logging.INFO if outcome.state is DeliveryState.DELIVERED else logging.WARNING
        word, reason = WORDS[outcome.state], outcome.reason
        logger.log(level, "webhook %s: %s after try %d: %s", word, delivery.id, delivery.tries, reason)
