"""One request and its answer: what is known of it from its head to the last byte sent."""

import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.admission import Ticket
from gateway.contract import Model, Result
from gateway.endpoints.receipts import RECEIVED
from gateway.endpoints.receiving import Received
from gateway.errors import GatewayError
from gateway.observe.logs import TaggedLogger
from gateway.observe.outcomes import Outcome
from gateway.observe.phases import Phases
from gateway.protocol.digests import Digest
from gateway.running import Card, Run
from gateway.service import Service

if TYPE_CHECKING:
    from gateway.endpoints.recall import Recall

PROGRESS_SECONDS = 1.0
"""The least time between two lines about one request's progress."""


@dataclass
class Exchange:
    """One request and its answer: what is known of it for the outcome, and what is to be let go at the end."""

    model: Model
    service: Service
    ticket: Ticket
    timeout: float
    logger: TaggedLogger
    output: Digest
    environ: dict[str, Any]
    request_id: str
    phases: Phases = field(default_factory=Phases)
    status: int = 200
    reason: str = ""
    received: Received | None = None
    card: Card = Card()
    recall: "Recall | None" = None
    """Where its answer will be kept."""
    cached: bool = False
    batch_size: int = 1
    size_in: int = 0
    size_out: int = 0
    instances: int = 0
    input_digest: str = ""
    output_digest: str = ""
    _model_seconds: float | None = None
    """Of an answer that is whole."""
    _closed: bool = False

    def __post_init__(self) -> None:
        self.started = self.phases.begin("receive")
        self.at = self.environ.get(RECEIVED) or datetime.now(UTC)
        self.run = ToldRun(time.monotonic() + self.timeout, self)

    def close(self) -> None:
        """Let go of the request's bytes, of its place and of the hashing thread; tell what came of it."""
        if self._closed:
            return
        self._closed = True
        now = self.phases.begin("")
        self.output.close()
        if self.received is not None and not self.received.in_memory:
            self.service.metrics.spool_bytes.dec(self.size_in)
        self.received = None
        self.ticket.leave()
        self.service.metrics.in_flight.dec()
        if self._model_seconds is not None:
            taken = now - self.started, self._model_seconds, self.size_out
            self.logger.info("answered in %.3f s, model %.3f s, %d bytes out", *taken)
        self.service.told(self.outcome(self.output_digest, now))

    def failed(self, error: GatewayError) -> None:
        """It is answered with a problem."""
        self.status, self.reason = error.status, error.code

    def interrupted(self) -> None:
        """The model gave no answer: the time since it began is its own all the same, and not the line's."""
        if self.run.began is not None:
            self.phases.add("predict", max(0.0, time.monotonic() - self.run.began), of="queue")

    def answered(self, result: Result, output_digest: str, size: int) -> None:
        """The answer is whole, but for its last bytes; once they are sent, a line says so."""
        self.output_digest, self.size_out, self._model_seconds = output_digest, size, result.seconds
        self.logger.add_tags({"output_hash": output_digest})

    def outcome(self, output_digest: str, now: float | None = None) -> Outcome:
        """What has come of it until now."""
        caller = self.environ.get("gateway.caller")
        return Outcome(
            request_id=self.request_id,
            route=self.model.name,
            status=self.status,
            received=self.at,
            seconds=(now or time.perf_counter()) - self.started,
            reason=self.reason,
            phases=dict(self.phases.seconds),
            bytes_in=self.size_in,
            bytes_out=self.size_out,
            instances=self.instances,
            batch_size=self.batch_size,
            caller=getattr(caller, "name", ""),
            input_digest=self.input_digest,
            output_digest=output_digest,
            parameters_digest=self.card.parameters_digest,
            model_name=self.card.name,
            model_version=self.card.version,
            model_digest=self.card.model_digest,
            weights_digest=self.card.weights_digest,
            deterministic=self.card.deterministic,
            cached=self.cached,
            traceparent=self.environ.get("HTTP_TRACEPARENT", ""),
        )


class ToldRun(Run):
    """A run whose progress is seen in the log, a line a second at most, and in the metrics.

    The text is the author's, and may quote the study: it is not logged.
    """

    def __init__(self, deadline: float, exchange: Exchange) -> None:
        super().__init__(deadline)
        self._logger, self._metrics, self._route = exchange.logger, exchange.service.metrics, exchange.model.name
        self._logged = -math.inf

    def progress(self, done: float, total: float, text: str = "") -> None:
        """See ``Run.progress``."""
        super().progress(done, total, text)
        self._metrics.progress(self._route)
        if time.monotonic() - self._logged >= PROGRESS_SECONDS or done >= total:
            self._logged = time.monotonic()
            self._logger.info("progress: %g of %g", done, total)
