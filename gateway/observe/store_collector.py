"""Numbers of a store as metrics, the same from each worker and server that shares it."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.errors import GatewayError

Numbers = TypeVar("Numbers")


class StoreCollector(Collector, Generic[Numbers]):
    """Reads numbers at each scrape. They are missing while the store does not answer."""

    def __init__(self, read: Callable[[], Numbers]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        try:
            numbers = self._read()
        except GatewayError:
            return
        yield from self.families(numbers)

    @abstractmethod
    def families(self, numbers: Numbers) -> Iterator[Metric]:
        """Yield the families of some numbers."""


def gauge(name: str, text: str, label: str, numbers: Mapping[str, float]) -> Metric:
    """Return a family with a sample for each value of a label."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in numbers.items():
        family.add_metric([value], number)
    return family
