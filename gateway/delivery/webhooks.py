"""Webhooks of one application: which URLs it sends to, and what sends."""

from collections.abc import Callable
from typing import Any

from gateway.config import Settings
from gateway.delivery import webhook_rows
from gateway.delivery.callbacks import Callback, allowed_origins
from gateway.delivery.reporting import Reporter
from gateway.delivery.signatures import SigningSecrets
from gateway.delivery.webhook_errands import WebhookErrands
from gateway.delivery.webhook_rows import Webhook
from gateway.errors import WebhookRefused
from gateway.runs.lifecycle import ENDED
from gateway.studies.errands import ErrandRunner
from gateway.studies.index import Index

OFF = "This gateway sends no webhooks; its operator sets GATEWAY_WEBHOOK_ORIGINS to allow origins."
ELSEWHERE = "The gateway sends no webhooks to this origin; its operator adds it to GATEWAY_WEBHOOK_ORIGINS."


def reporter_of(settings: Settings) -> Reporter | None:
    """Return what sends webhooks; None where no origin is allowed.

    Raises ValueError for a wrong setting, and for an allowed origin without a secret.
    """
    if not (allowed := allowed_origins(settings.webhook_origins)):
        return None
    if settings.webhook_secrets_file is None:
        raise ValueError("webhook_origins needs webhook_secrets_file (GATEWAY_WEBHOOK_SECRETS_FILE).")
    secrets = SigningSecrets(settings.webhook_secrets_file)
    secrets.require(allowed)
    return Reporter(allowed, secrets, settings.webhook_tries, settings.webhook_longest_pause)


class Webhooks:
    """Reports the ends of runs to their webhooks. Without allowed origins it refuses every URL, and does nothing."""

    def __init__(
        self, settings: Settings, index: Index, count: Callable[[str], None], clock: Callable[[], float] | None = None
    ) -> None:
        """``count`` receives what became of a webhook by each try; ``clock`` is the index's by default.

        Raises ValueError for a wrong setting, and for an allowed origin without a secret.
        """
        self._index, self._clock = index, clock or index.now
        reporter = reporter_of(settings)
        self._allowed = reporter.allowed if reporter else ()
        self._runner: ErrandRunner[Webhook] | None = None
        if reporter is not None:
            errands = WebhookErrands(index, reporter, count, self._clock)
            self._runner = ErrandRunner(index, errands, self._clock, lease=settings.run_lease)

    def start(self) -> None:
        """Begin to deliver."""
        if self._runner:
            self._runner.start()

    def close(self) -> None:
        """Stop delivering; what is not delivered is delivered by another process, or after the next start."""
        if self._runner:
            self._runner.stop()

    def signalled(self, _key: str, word: str) -> None:
        """Look for ends of runs where ``word`` is the state of one; returns at once."""
        if word in ENDED:
            self.wake()

    def wake(self) -> None:
        """Look for ends of runs now; returns at once."""
        if self._runner:
            self._runner.wake()

    def required(self, url: str) -> Callback | None:
        """Return the callback of a request's ``Webhook``; None for "". Raises WebhookRefused."""
        if not url:
            return None
        if not self._allowed:
            raise WebhookRefused(OFF)
        callback = Callback.parse(url)
        if callback.origin not in self._allowed:
            raise WebhookRefused(ELSEWHERE)
        return callback

    def register(self, run_key: str, callback: Callback | None) -> None:
        """Report the end of a run to ``callback``; a run that has a webhook keeps it. Raises Unavailable."""
        if callback is None:
            return
        with self._index.writing() as connection:
            webhook_rows.register(connection, run_key, callback.origin, callback.url, self._clock())
        self.wake()

    @property
    def on(self) -> bool:
        """True where some origin is allowed."""
        return self._runner is not None

    def age(self) -> float:
        """Return the seconds since the end of the run whose webhook waits longest; 0 where none waits."""
        with self._index.reading() as connection:
            ended_at = webhook_rows.backlog(connection).ended_at
        return 0.0 if ended_at is None else max(0.0, self._clock() - ended_at)

    def of(self, run_key: str) -> dict[str, Any] | None:
        """Return the webhook of a run as JSON, without its URL; None where it has none, or where none is sent."""
        if not self.on:
            return None
        with self._index.reading() as connection:
            webhook = webhook_rows.of_run(connection, run_key)
        if webhook is None:
            return None
        return {"state": webhook.state.value, "tries": webhook.tries, "outcome": webhook.outcome}
