"""Runs in the store as metrics, and the webhooks that report them."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from gateway.observe.store_collector import StoreCollector, gauge

RunNumbers = Callable[[], tuple[Mapping[str, int], float]]
"""Returns the number of runs by state, and the seconds that the oldest queued one has waited."""

WebhookAge = Callable[[], float]
"""Returns the seconds since the end of the run whose webhook waits longest, 0 where none waits."""


class RunStates(StoreCollector[tuple[Mapping[str, int], float]]):
    """The numbers of runs."""

    def families(self, numbers: tuple[Mapping[str, int], float]) -> Iterator[Metric]:
        """Yield two families."""
        states, oldest = numbers
        yield gauge("gateway_runs", "Runs in the store by state.", "state", states)
        yield GaugeMetricFamily("gateway_run_queue_seconds", "How long the oldest queued run has waited.", oldest)


class WaitingWebhooks(StoreCollector[float]):
    """The age of webhooks."""

    def families(self, numbers: float) -> Iterator[Metric]:
        """Yield one family."""
        text = "Since the end of the run whose webhook waits longest."
        yield GaugeMetricFamily("gateway_webhook_oldest_seconds", text, numbers)
