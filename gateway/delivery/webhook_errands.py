"""Webhooks as errands: which are due, and what becomes of each by a try."""

import logging
from collections.abc import Callable, Collection

from sqlalchemy import Connection

from gateway.delivery import webhook_rows
from gateway.delivery.outcome_words import TRY_WORDS
from gateway.delivery.reporting import Reporter
from gateway.delivery.webhook_rows import Webhook
from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.index import Index

logger = logging.getLogger("gateway")


class WebhookErrands:
    """The ``Errands`` of webhooks; a receiver is an origin."""

    name = "webhook"

    def __init__(
        self, index: Index, reporter: Reporter, count: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        """``count`` receives ``delivered``, ``retried`` or ``dead`` after each try."""
        self._index, self._reporter, self._count, self._clock = index, reporter, count, clock

    def due_at(self, connection: Connection) -> float | None:
        """See ``Errands``."""
        return webhook_rows.backlog(connection).next_at

    def claim(self, connection: Connection, now: float, lease: float, busy: Collection[str]) -> Webhook | None:
        """See ``Errands``."""
        return webhook_rows.claim(connection, now, lease, busy)

    def renew(self, connection: Connection, item: Webhook, ends: float, until: float) -> None:
        """See ``Errands``."""
        webhook_rows.renew(connection, item, ends, until)

    def receiver(self, item: Webhook) -> str:
        """See ``Errands``."""
        return item.origin

    def attempt(self, item: Webhook, stopped: Callable[[], bool]) -> None:
        """See ``Errands``; a post is over soon, so it is not ended early."""
        outcome = self._reporter.report(item, self._clock())
        with self._index.writing() as connection:
            webhook_rows.settle(connection, item, outcome.state, outcome.reason, self._clock() + outcome.pause)
        self._count(TRY_WORDS[outcome.state])
        level = logging.INFO if outcome.state is DeliveryState.DELIVERED else logging.WARNING
        word, reason = TRY_WORDS[outcome.state], outcome.reason
        logger.log(level, "webhook %s: %s after try %d: %s", word, item.id, item.tries, reason)
