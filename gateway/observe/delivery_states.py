"""Deliveries to peers as metrics, the same from each worker and server of a store."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.errors import GatewayError


class DestinationNumbers(NamedTuple):
    """Deliveries to one destination that wait, the seconds since the oldest of them was queued, and those dead."""

    pending: int
    oldest: float
    dead: int


CountDeliveries = Callable[[], Mapping[str, DestinationNumbers]]
"""Returns the numbers by destination, the name of a peer."""


class DeliveryStates(Collector):
    """Reads the numbers at each scrape. They are missing while the store does not answer."""

    def __init__(self, count: CountDeliveries) -> None:
        self._count = count

    def collect(self) -> Iterator[Metric]:
        """Yield three families."""
        try:
            numbers = self._count()
        except GatewayError:
            return
        pending = _family("gateway_deliveries_pending", "Deliveries that wait.")
        oldest = _family("gateway_delivery_oldest_seconds", "Since the delivery was queued that waits longest.")
        dead = _family("gateway_deliveries_dead", "Deliveries that wait for a person to retry them.")
        for destination, each in numbers.items():
            pending.add_metric([destination], each.pending)
            oldest.add_metric([destination], each.oldest)
            dead.add_metric([destination], each.dead)
        yield from (pending, oldest, dead)


def _family(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["destination"])
