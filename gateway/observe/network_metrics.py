"""Metrics of the DICOM network process: its own page, since it is no worker of the HTTP server.

Labels are words of the code: outcomes of associations and of instances, never an AE title.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

ALERTING = ("full", "unavailable")
"""Outcomes of instances with an alert in docs/alerts.yml; their series begin at 0, since increase() sees none begin."""


class NetworkMetrics:
    """The numbers of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._associations = Counter(
            "gateway_dimse_associations", "Associations that are over.", ["outcome"], registry=self.registry
        )
        self._instances = Counter(
            "gateway_dimse_instances", "Instances received by C-STORE.", ["outcome"], registry=self.registry
        )
        for outcome in ALERTING:
            self._instances.labels(outcome)
        self._received = Counter("gateway_dimse_received_bytes", "Bytes of stored instances.", registry=self.registry)
        self._commitments = Counter(
            "gateway_dimse_commitments", "Tries to report storage commitments.", ["outcome"], registry=self.registry
        )
        self.in_flight = Gauge("gateway_dimse_associations_in_flight", "Associations now.", registry=self.registry)

    def association(self, outcome: str) -> None:
        """Count an association that is over, by how it ended."""
        self._associations.labels(outcome).inc()

    def instance(self, outcome: str, size: int) -> None:
        """Count an instance of ``size`` bytes that was stored or refused."""
        self._instances.labels(outcome).inc()
        if outcome == "stored":
            self._received.inc(size)

    def commitment(self, outcome: str) -> None:
        """Count a try to report a storage commitment."""
        self._commitments.labels(outcome).inc()

    def serve(self, host: str, port: int) -> None:
        """Answer ``GET /metrics`` in a thread. Raises OSError."""
        start_http_server(port, host, self.registry)
