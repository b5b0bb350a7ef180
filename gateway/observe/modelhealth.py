"""Health of the models as metrics of the whole server, the same in each worker."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.contract.execution import HealthState


class OnDevice(Protocol):
    """Processes of a model on one device, and the bytes that they have declared."""

    @property
    def processes(self) -> int: ...

    @property
    def memory(self) -> int: ...


class Health(Protocol):
    """Health of one model: its state; pending and running requests; restarts since the server started; devices."""

    @property
    def state(self) -> HealthState: ...

    @property
    def queued(self) -> int: ...

    @property
    def running(self) -> int: ...

    @property
    def restarts(self) -> int: ...

    @property
    def devices(self) -> Mapping[str, OnDevice]: ...


Snapshot = Callable[[], Mapping[str, Health]]
"""Returns the models' health by route, over all workers, without waiting for a model."""


class ModelHealths(Collector):
    """Reads the models' health at each scrape, so that it is never stale."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield six families, with samples for each model, and for each device of one."""
        queued = GaugeMetricFamily("gateway_queue_depth", "Requests that wait for the model.", labels=["model"])
        running = GaugeMetricFamily("gateway_model_running", "Requests that the model works at.", labels=["model"])
        state = GaugeMetricFamily(
            "gateway_model_state", "1 for the state that the model is in.", labels=["model", "state"]
        )
        restarts = CounterMetricFamily(
            "gateway_model_restarts", "Times the model's process was started again.", labels=["model"]
        )
        on = ["model", "device"]
        processes = GaugeMetricFamily(
            "gateway_model_device_processes", "Processes of the model on the device.", labels=on
        )
        memory = GaugeMetricFamily(
            "gateway_model_device_bytes", "Memory of the device that they have declared.", labels=on
        )
        for name, health in self._snapshot().items():
            queued.add_metric([name], health.queued)
            running.add_metric([name], health.running)
            restarts.add_metric([name], health.restarts)
            for value in HealthState:
                state.add_metric([name, value], float(value == health.state))
            for device, use in health.devices.items():
                processes.add_metric([name, device], use.processes)
                memory.add_metric([name, device], use.memory)
        yield from (queued, running, state, restarts, processes, memory)
