"""The names, units and labels of the metrics.

Labels are routes, statuses, doors, reasons, phases and names of peers, each from a set that the code or the operator
knows: no value that a client sends becomes a label. ``modelhealth`` has the metrics of the models.
"""

import functools
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from gateway.observe import multiprocess

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""From a small request on loopback to the ten minutes that a prediction may take."""
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Instruments:
    """The instruments of a process; a second set would overwrite the first where workers share a folder."""

    def __init__(self, registry: CollectorRegistry) -> None:
        count = functools.partial(Counter, registry=registry)
        # live: of the processes that live; the sum over them
        gauge = functools.partial(Gauge, registry=registry, multiprocess_mode="livesum")
        histogram = functools.partial(Histogram, registry=registry)
        self.registry = registry
        self.requests = count("gateway_requests", "Inference requests that are over.", ["route", "status", "door"])
        self.rejections = count("gateway_rejections", "Requests answered with a problem.", ["route", "reason"])
        self.received = count("gateway_received_bytes", "Bytes of the parts of requests.", ["route"])
        self.sent = count("gateway_sent_bytes", "Bytes of the parts of answers.", ["route"])
        self.seconds = histogram(
            "gateway_request_seconds", "From a request's head to the last byte sent.", ["route"], buckets=SECONDS
        )
        self.phases = histogram(
            "gateway_phase_seconds", "Where a request's time went.", ["route", "phase"], buckets=SECONDS
        )
        self.batch = histogram(
            "gateway_batch_size", "Requests that one prediction answered together.", ["route"], buckets=BATCHES
        )
        self.progress = count("gateway_progress_reports", "Progress reports of running models.", ["route"])
        self.in_flight = gauge("gateway_requests_in_flight", "Inference requests in work.")
        self.sessions = gauge("gateway_sessions", "Click sessions that are open, or whose answer is still to be had.")
        self.spool = gauge("gateway_spool_bytes", "Bytes of request bodies held in files.")
        self.store_failures = count("gateway_store_failures", "Answers that the study store did not keep or find.")
        self.run_restarts = count("gateway_run_restarts", "Runs taken from a process that died.")
        self.audit_failures = count("gateway_audit_failures", "Records that an audit sink did not take.")
        self.peers = count(
            "gateway_peer_operations", "Operations on peers that are over.", ["peer", "operation", "outcome"]
        )
        self.peer_seconds = histogram(
            "gateway_peer_seconds", "How long operations on peers took.", ["peer", "operation"], buckets=SECONDS
        )
        self.deliveries = count(
            "gateway_deliveries", "Tries to deliver to peers that are over.", ["destination", "outcome"]
        )
        self.webhooks = count("gateway_webhooks", "Tries to deliver webhooks that are over.", ["outcome"])

    def __iter__(self) -> Iterator[MetricWrapperBase]:
        return (value for value in vars(self).values() if isinstance(value, MetricWrapperBase))


@functools.cache
def of_this_process() -> Instruments:
    """Return the instruments that all applications of a process share. Raises OSError without room for their files."""
    multiprocess.reserve()
    return Instruments(CollectorRegistry())
