"""Runs in the store as metrics, the same from each worker and server that shares it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.errors import GatewayError

RunNumbers = Callable[[], tuple[Mapping[str, int], float]]
"""Returns the number of runs by state, and the seconds that the oldest queued one has waited."""

WebhookAge = Callable[[], float]
"""Returns the seconds since the end of the run whose webhook waits longest, 0 where none waits."""


class RunStates(Collector):
    """Reads the numbers at each scrape. They are missing while the store does not answer."""

    def __init__(self, numbers: RunNumbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        """Yield two families."""
        try:
            states, oldest = self._numbers()
        except GatewayError:
            return
        runs = GaugeMetricFamily("gateway_runs", "Runs in the store by state.", labels=["state"])
        for state, count in states.items():
            runs.add_metric([state], count)
        yield runs
        yield GaugeMetricFamily("gateway_run_queue_seconds", "How long the oldest queued run has waited.", oldest)


class WaitingWebhooks(Collector):
    """Reads the age at each scrape. It is missing while the store does not answer."""

    def __init__(self, age: WebhookAge) -> None:
        self._age = age

    def collect(self) -> Iterator[Metric]:
        """Yield one family."""
        with contextlib.suppress(GatewayError):
            text = "Since the end of the run whose webhook waits longest."
            yield GaugeMetricFamily("gateway_webhook_oldest_seconds", text, self._age())
