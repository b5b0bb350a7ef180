"""Metrics for Prometheus: exact over all workers of a server, and over those that died."""

import os
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import GatewayError, RequestStalled, StorageFull
from gateway.observe import multiprocess
from gateway.observe.outcomes import DOORS, PHASES, Outcome

if TYPE_CHECKING:  # imported when used: prometheus_client reads its folder at import
    from prometheus_client import Counter, Gauge

    from gateway.observe.delivery_states import CountDeliveries
    from gateway.observe.instruments import Instruments
    from gateway.observe.modelhealth import Snapshot
    from gateway.observe.routing_states import CountRouting
    from gateway.observe.runstates import RunNumbers, WebhookAge

OTHER = "other"
"""The label of an unknown route, status or reason."""
ALERTING = (StorageFull.code, RequestStalled.code)
"""Reasons with an alert in docs/alerts.yml. Their series begin at 0, since increase() sees no series begin."""

WEBHOOKS = ("delivered", "retried", "dead")
"""What became of a webhook by one try."""


class Metrics:
    """The numbers of one application; ``count`` is a Sink.

    ``routes`` are those of models, and may grow; any other is counted as ``other``.
    """

    def __init__(self, routes: Collection[str], instruments: "Instruments | None" = None) -> None:
        self._routes = routes
        self._instruments = instruments
        self._by_status: dict[tuple[str, int, str], Counter] = {}
        self._by_reason: dict[tuple[str, str], Counter] = {}
        self._by_route: dict[str, _Route] = {}
        self._health: Snapshot | None = None
        self.runs: RunNumbers | None = None
        """The numbers of the runs in the store, where there is one."""
        self.routing: CountRouting | None = None
        """The numbers of studies that arrive, where rules send them to models."""
        self.deliveries: CountDeliveries | None = None
        """The numbers of deliveries to peers, where there are peers and a store."""
        self.webhook_age: WebhookAge | None = None
        """How long webhooks have waited, where the gateway sends some."""

    @cached_property
    def instruments(self) -> "Instruments":
        """The instruments: those of the constructor, else the process's own."""
        from gateway.observe.instruments import of_this_process

        return self._instruments or of_this_process()

    @cached_property
    def in_flight(self) -> "Gauge":
        """Requests in work: ``inc()`` when one is admitted, ``dec()`` when it is over."""
        return self.instruments.in_flight

    @cached_property
    def sessions(self) -> "Gauge":
        """Click sessions: ``inc()`` when one is opened, ``dec()`` when it is forgotten."""
        return self.instruments.sessions

    @cached_property
    def spool_bytes(self) -> "Gauge":
        """Bytes that requests hold in files: ``inc(count)`` and ``dec(count)``."""
        return self.instruments.spool

    def progress(self, route: str) -> None:
        """A running model told how far it is."""
        self.instruments.progress.labels(route if route in self._routes else OTHER).inc()

    @cached_property
    def audit_failures(self) -> "Counter":
        """``inc()`` for each record that a sink of the audit did not take."""
        return self.instruments.audit_failures

    @cached_property
    def store_failures(self) -> "Counter":
        """``inc()`` for each answer that the study store could not keep, or could not look for."""
        return self.instruments.store_failures

    @cached_property
    def run_restarts(self) -> "Counter":
        """``inc()`` for each run that was taken from a process that died."""
        return self.instruments.run_restarts

    def webhook(self, outcome: str) -> None:
        """Count a try to deliver a webhook, which was then ``delivered``, ``retried`` or ``dead``."""
        self.instruments.webhooks.labels(outcome).inc()

    def delivery(self, destination: str, outcome: str) -> None:
        """Count a try to deliver to a peer, which was then ``delivered``, ``retried`` or ``dead``."""
        self.instruments.deliveries.labels(destination, outcome).inc()

    def peer(self, name: str, operation: str, outcome: str, seconds: float) -> None:
        """Count an operation on a peer of the operator's file: ``echo``, ``find``, ``fetch`` or ``store``."""
        self.instruments.peers.labels(name, operation, outcome).inc()
        self.instruments.peer_seconds.labels(name, operation).observe(seconds)

    def count(self, outcome: Outcome) -> None:
        """Count one request that is over."""
        route = outcome.route if outcome.route in self._routes else OTHER
        self._count_status(route, outcome.status, outcome.door)
        if outcome.reason:
            self._count_reason(route, outcome.reason)
        numbers = self._by_route.get(route)
        if numbers is None:
            numbers = self._by_route[route] = _Route(self.instruments, route)
        numbers.count(outcome)

    def turned_away(self, route: str, status: int, reason: str, door: str) -> None:
        """Count a request that was refused for who sent it, before it was anyone's work."""
        if route in self._routes:
            self._count_status(route, status, door)
        self.refused(route, reason)

    def refused(self, route: str, reason: str) -> None:
        """Count a problem that answered a request on ``route``, which may be no model's."""
        self._count_reason(route if route in self._routes else OTHER, reason)

    def _count_status(self, route: str, status: int, door: str) -> None:
        counter = self._by_status.get((route, status, door))
        if counter is None:
            label = str(status) if 100 <= status <= 599 else OTHER
            counter = self.instruments.requests.labels(route, label, door if door in DOORS else OTHER)
            if label != OTHER and door in DOORS:
                self._by_status[route, status, door] = counter
        counter.inc()

    def _count_reason(self, route: str, reason: str) -> None:
        counter = self._by_reason.get((route, reason))
        if counter is None:
            label = reason if reason in _codes() else OTHER
            counter = self.instruments.rejections.labels(route, label)
            if label != OTHER:
                self._by_reason[route, reason] = counter
        counter.inc()

    def open(self, health: "Snapshot") -> None:
        """Make the instruments before the first request, and the series of alerts; expose the models' ``health`` too.

        Raises OSError where the numbers find no room.
        """
        self._health = health
        for route in (*self._routes, OTHER):
            for reason in ALERTING:
                self.instruments.rejections.labels(route, reason)
        for webhook in WEBHOOKS:
            self.instruments.webhooks.labels(webhook)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All numbers, of all workers of the server, and their media type.

        ``accept`` is an Accept header (RFC 9110 12.5.1), by which OpenMetrics is chosen over Prometheus' text format.
        """
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.multiprocess import MultiProcessCollector

        from gateway.observe.delivery_states import DeliveryStates
        from gateway.observe.modelhealth import ModelHealths
        from gateway.observe.routing_states import RoutingStates
        from gateway.observe.runstates import RunStates, WaitingWebhooks

        registry, folder = CollectorRegistry(), os.environ.get(multiprocess.VARIABLE)
        registry.register(MultiProcessCollector(None, folder) if folder else self.instruments.registry)
        if self._health is not None:
            registry.register(ModelHealths(self._health))
        if self.runs is not None:
            registry.register(RunStates(self.runs))
        if self.routing is not None:
            registry.register(RoutingStates(self.routing))
        if self.deliveries is not None:
            registry.register(DeliveryStates(self.deliveries))
        if self.webhook_age is not None:
            registry.register(WaitingWebhooks(self.webhook_age))
        encode, media_type = choose_encoder(accept)
        with multiprocess.reading(Path(folder)) if folder else nullcontext():
            return encode(registry), media_type


class _Route:
    """The children of one route; to look one up by its labels costs more than to write to it."""

    def __init__(self, instruments: "Instruments", route: str) -> None:
        self._seconds = instruments.seconds.labels(route)
        self._received = instruments.received.labels(route)
        self._sent = instruments.sent.labels(route)
        self._batch = instruments.batch.labels(route)
        self._phases = {phase: instruments.phases.labels(route, phase) for phase in PHASES}

    def count(self, outcome: Outcome) -> None:
        self._seconds.observe(outcome.seconds)
        self._received.inc(outcome.bytes_in)
        self._sent.inc(outcome.bytes_out)
        if not outcome.reason:
            self._batch.observe(outcome.batch_size)
        for phase, seconds in outcome.phases.items():
            if phase in self._phases:
                self._phases[phase].observe(seconds)


def _codes() -> frozenset[str]:
    """Return the codes of all errors of the gateway, without those that a service derives from them."""
    return frozenset(kind.code for kind in _below(GatewayError) if kind.__module__.startswith("gateway."))


def _below(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _below(child)
