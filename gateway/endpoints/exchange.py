"""One request and its answer: what is known of it from its head to the last byte sent."""

import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import flask

from gateway.admission import Ticket
from gateway.contract import Model, Result
from gateway.endpoints.problems import request_id
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
    started: float = field(default_factory=time.perf_counter)
    at: datetime = field(default_factory=lambda: flask.request.environ.get(RECEIVED) or datetime.now(UTC))
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
    _doing: str = "receive"
    _closed: bool = False

    def __post_init__(self) -> None:
        self._mark, self._counted = self.started, 0.0
        self.run = ToldRun(time.monotonic() + self.timeout, self)
        self._identity = request_id(), flask.request.environ

    def close(self) -> None:
        """Let go of the request's bytes, of its place and of the hashing thread; tell what came of it."""
        if self._closed:
            return
        self._closed = True
        now = self.begin("")
        self.output.close()
        if self.received is not None and not self.received.in_memory:
            self.service.metrics.spool_bytes.dec(self.size_in)
        self.received = None
        self.ticket.leave()
        self.service.metrics.in_flight.dec()
        self.service.told(self.outcome(self.output_digest, now))

    def failed(self, error: GatewayError) -> None:
        """It is answered with a problem."""
        self.status, self.reason = error.status, error.code

    def begin(self, phase: str) -> float:
        """From now on the time is that of ``phase``; what was measured apart meanwhile is not counted twice."""
        now, seconds = time.perf_counter(), self.phases.seconds
        self.phases.add(self._doing, max(0.0, now - self._mark - (sum(seconds.values()) - self._counted)))
        self._doing, self._mark, self._counted = phase, now, sum(seconds.values())
        return now

    def interrupted(self) -> None:
        """The model gave no answer: the time since it began is its own all the same, and not the line's."""
        if self.run.began is not None:
            self.phases.add("predict", max(0.0, time.monotonic() - self.run.began))

    def answered(self, result: Result, output_digest: str, size: int) -> None:
        """Write the line that says what came of it."""
        self.output_digest, self.size_out = output_digest, size
        self.logger.add_tags({"output_hash": output_digest})
        self.logger.info(
            "answered in %.3f s, model %.3f s, %d bytes out", time.perf_counter() - self.started, result.seconds, size
        )

    def outcome(self, output_digest: str, now: float | None = None) -> Outcome:
        """What has come of it until now."""
        number, environ = self._identity
        caller = environ.get("gateway.caller")
        return Outcome(
            request_id=number,
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
            traceparent=environ.get("HTTP_TRACEPARENT", ""),
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
