"""One try to deliver a webhook: what is sent, and what becomes of the webhook by the reply."""

import json
import socket
import ssl
from collections.abc import Collection
from dataclasses import dataclass, field

from gateway.delivery.addresses import AddressForbidden, checked_addresses
from gateway.delivery.callbacks import Callback
from gateway.delivery.pauses import pause
from gateway.delivery.posting import NotHTTP, Reply, post
from gateway.delivery.signatures import SigningSecrets
from gateway.delivery.webhook_rows import Webhook
from gateway.errors import WebhookRefused
from gateway.studies.delivery_rows import DeliveryState

GONE = 410
"""The status by which a receiver asks for no more (Standard Webhooks)."""


@dataclass(frozen=True)
class TryOutcome:
    """What became of a webhook by one try; ``pause`` are the seconds before the next."""

    state: DeliveryState
    reason: str
    pause: float = 0.0


@dataclass(frozen=True)
class Reporter:
    """Reports ends of runs to their webhooks: ``tries`` times at most, with pauses up to ``longest_pause`` seconds."""

    allowed: Collection[str]
    secrets: SigningSecrets
    tries: int
    longest_pause: float
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def report(self, webhook: Webhook, now: float) -> TryOutcome:
        """Try once, at the time ``now`` in seconds since 1970."""
        if webhook.origin not in self.allowed:  # it was, when the run was submitted
            return TryOutcome(DeliveryState.DEAD, "origin-not-allowed")
        if webhook.tries > self.tries:  # the last one ended its process
            return TryOutcome(DeliveryState.DEAD, "unfinished")
        try:
            callback = Callback.parse(webhook.url)
            reply = self._post(callback, webhook, now)
        except (OSError, ValueError, KeyError, WebhookRefused) as error:
            return self._failed(webhook, reason_of(error))
        if 200 <= reply.status < 300:
            return TryOutcome(DeliveryState.DELIVERED, f"status-{reply.status}")
        if reply.status == GONE:
            return TryOutcome(DeliveryState.DEAD, f"status-{GONE}")
        return self._failed(webhook, f"status-{reply.status}", reply.retry_after)

    def _failed(self, webhook: Webhook, reason: str, retry_after: float = 0.0) -> TryOutcome:
        if webhook.tries >= self.tries:
            return TryOutcome(DeliveryState.DEAD, reason)
        return TryOutcome(DeliveryState.PENDING, reason, pause(webhook.tries, self.longest_pause, retry_after))

    def _post(self, callback: Callback, webhook: Webhook, now: float) -> Reply:
        body = body_of(webhook)
        signed = self.secrets.headers(callback.origin, webhook.id, int(now), body)
        headers = {"Content-Type": "application/json", "User-Agent": "inference-gateway"} | signed
        return post(callback, checked_addresses(callback, self.allowed), headers, body, self.context)


def body_of(webhook: Webhook) -> bytes:
    """Return what is sent: the run's id, its route and its state, and no more."""
    return json.dumps({"id": webhook.run, "route": webhook.route, "state": webhook.run_state}).encode()


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (AddressForbidden, "address-forbidden"),
    (socket.gaierror, "name-unknown"),
    (ssl.SSLError, "tls"),
    (TimeoutError, "timeout"),
    (NotHTTP, "not-http"),
    (OSError, "no-connection"),
    (KeyError, "no-secret"),
    (WebhookRefused, "url-refused"),
)


def reason_of(error: Exception) -> str:
    """Return a word for a failure, which quotes nothing of the receiver."""
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "secrets-unreadable")
