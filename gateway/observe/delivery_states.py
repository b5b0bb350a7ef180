"""Deliveries to peers as metrics."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from gateway.observe.store_collector import StoreCollector, gauge


class DestinationNumbers(NamedTuple):
    """Deliveries to one destination that wait, the seconds since the oldest of them was queued, and those dead."""

    pending: int
    oldest: float
    dead: int


CountDeliveries = Callable[[], Mapping[str, DestinationNumbers]]
"""Returns the numbers by destination, the name of a peer."""


class DeliveryStates(StoreCollector[Mapping[str, DestinationNumbers]]):
    """The numbers of deliveries."""

    def families(self, numbers: Mapping[str, DestinationNumbers]) -> Iterator[Metric]:
        """Yield three families."""
        each = numbers.items()
        text = "Deliveries that wait."
        yield gauge("gateway_deliveries_pending", text, "destination", {name: one.pending for name, one in each})
        text = "Since the delivery was queued that waits longest."
        yield gauge("gateway_delivery_oldest_seconds", text, "destination", {name: one.oldest for name, one in each})
        text = "Deliveries that wait for a person to retry them."
        yield gauge("gateway_deliveries_dead", text, "destination", {name: one.dead for name, one in each})
