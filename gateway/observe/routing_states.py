"""Studies that arrive and their handling by rules as metrics."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from gateway.observe.store_collector import StoreCollector, gauge


@dataclass(frozen=True, kw_only=True)
class RoutingNumbers:
    """Rounds and routings by state, and ages in seconds: of the oldest round that arrives, of the latest arrival (None
    before any), and of the oldest routing that has not ended.
    """

    rounds: Mapping[str, int]
    oldest_round: float
    latest_arrival: float | None
    routings: Mapping[str, int]
    oldest_routing: float


CountRouting = Callable[[], RoutingNumbers]


class RoutingStates(StoreCollector[RoutingNumbers]):
    """The numbers of rounds and routings."""

    def families(self, numbers: RoutingNumbers) -> Iterator[Metric]:
        """Yield five families."""
        text = "Rounds of studies by state; one that is arriving is incomplete."
        yield gauge("gateway_rounds", text, "state", numbers.rounds)
        text = "How long the oldest incomplete study has been arriving."
        yield GaugeMetricFamily("gateway_round_oldest_seconds", text, numbers.oldest_round)
        arrival = GaugeMetricFamily("gateway_arrival_age_seconds", "Since the latest instance arrived.")
        if numbers.latest_arrival is not None:
            arrival.add_metric([], numbers.latest_arrival)
        yield arrival
        yield gauge("gateway_routings", "Studies that rules have taken, by state.", "state", numbers.routings)
        text = "Since the rule took its study that has been at work longest."
        yield GaugeMetricFamily("gateway_routing_oldest_seconds", text, numbers.oldest_routing)
