"""Studies that arrive and their handling by rules as metrics, the same from each worker and server of a store."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.errors import GatewayError


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


class RoutingStates(Collector):
    """Reads the numbers at each scrape. They are missing while the store does not answer."""

    def __init__(self, count: CountRouting) -> None:
        self._count = count

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        try:
            numbers = self._count()
        except GatewayError:
            return
        text = "Rounds of studies by state; one that is arriving is incomplete."
        yield _by_state("gateway_rounds", text, numbers.rounds)
        text = "How long the oldest incomplete study has been arriving."
        yield GaugeMetricFamily("gateway_round_oldest_seconds", text, numbers.oldest_round)
        arrival = GaugeMetricFamily("gateway_arrival_age_seconds", "Since the latest instance arrived.")
        if numbers.latest_arrival is not None:
            arrival.add_metric([], numbers.latest_arrival)
        yield arrival
        yield _by_state("gateway_routings", "Studies that rules have taken, by state.", numbers.routings)
        text = "Since the rule took its study that has been at work longest."
        yield GaugeMetricFamily("gateway_routing_oldest_seconds", text, numbers.oldest_routing)


def _by_state(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state, count in counts.items():
        family.add_metric([state], count)
    return family
