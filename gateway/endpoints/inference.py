"""The inference protocol over HTTP: ``multipart/related`` in, ``multipart/related`` out."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import flask

from gateway.admission import Ticket
from gateway.config import KiB
from gateway.contract import Model, Request, Result
from gateway.endpoints.presence import TIMEOUT_HEADER, gone, granted_timeout
from gateway.endpoints.problems import problem_response, request_id
from gateway.endpoints.receipts import RECEIVED, receipt_headers
from gateway.endpoints.receiving import Received, Terms, receive
from gateway.errors import GatewayError, ModelFailed
from gateway.observe.logs import TaggedLogger
from gateway.observe.outcomes import Outcome
from gateway.observe.phases import Phases
from gateway.protocol.digests import Digest, hash_function
from gateway.running import Card, Run
from gateway.service import Service
from gateway.wire import OutgoingPart, content_length, encode, new_boundary

if TYPE_CHECKING:
    from gateway.endpoints.recall import Named, Recall
    from gateway.studies.results import KeptResult

logger = logging.getLogger("gateway")

SEND_SIZE = 128 * KiB
"""Bytes handed to the server at once, few enough to be copied within the cache and the heap."""
DIGEST_HEADER = "X-Digest-Algorithm"
"""Names the algorithm behind the ``hashes`` part."""
SMALL = 64 * KiB
"""Pieces below this are joined: each one handed over costs a system call."""
PROGRESS_SECONDS = 1.0
"""The least time between two lines about one request's progress."""
HASHES_LENGTH = 129
"""``<input>:<output>``, two sha256 of 64 hexadecimal digits."""


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


Answer = Callable[[Exchange], flask.Response]
"""From an admitted request to the response; closes the exchange when that has been sent."""


def view(model: Model, service: Service) -> Callable[[], flask.Response]:
    """The view function of one model's route."""

    def answer(exchange: Exchange) -> flask.Response:
        received = take(exchange)
        request = request_of(exchange, received)
        if received.held and (kept := _kept(exchange, request, received)):
            return respond(exchange, kept.result, {"Age": str(kept.age)})
        return respond(exchange, infer(exchange, request))

    return admitted(model, service, answer)


def admitted(model: Model, service: Service, answer: Answer) -> Callable[[], flask.Response]:
    """A view function: what the gateway refuses is answered here and never reaches the service."""
    new_hash = hash_function(service.settings.digest)

    def do_inference() -> flask.Response:
        log = TaggedLogger(logger)
        log.add_tags({"request_id": request_id(), "route": model.name})
        try:
            timeout = granted_timeout(service.timeout(model))
            ticket = service.admit(model)
        except GatewayError as error:
            service.told(_refused(model, error))
            return problem_response(error)
        exchange = Exchange(model, service, ticket, timeout, log, Digest(new_hash, overlap=ticket.idle_core))
        service.metrics.in_flight.inc()
        try:
            return answer(exchange)
        except GatewayError as error:
            exchange.failed(error)
            exchange.close()
            flask.request.environ["gateway.phases"] = exchange.phases.seconds
            return problem_response(error)
        except BaseException:
            exchange.failed(ModelFailed())
            exchange.close()
            flask.request.environ["gateway.phases"] = exchange.phases.seconds
            raise

    return do_inference


def _refused(model: Model, error: GatewayError) -> Outcome:
    """What came of a request that was turned away at its head."""
    return Outcome(
        request_id=request_id(),
        route=model.name,
        status=error.status,
        received=datetime.now(UTC),
        seconds=0.0,
        reason=error.code,
        traceparent=flask.request.environ.get("HTTP_TRACEPARENT", ""),
    )


def _kept(exchange: Exchange, request: Request, received: Received) -> "KeptResult | None":
    """The answer that was given to the same before; where there is none, the one to come will be kept."""
    from gateway.endpoints.recall import Recall

    card = exchange.service.executor(exchange.model).card(exchange.model)
    recall = Recall.of(exchange.model, card, request, received.held)
    if recall is None or card is None:
        return None
    kept = recall.find(received.input_digest)
    if kept is None:
        exchange.recall = recall
    else:
        exchange.cached, exchange.card = True, replace(card, parameters_digest=recall.key.parameters_digest)
    return kept


def take(exchange: Exchange) -> Received:
    """Receive the request of an exchange."""
    service = exchange.service
    shared = service.executor(exchange.model).shares_memory
    terms = Terms(service.settings, exchange.ticket, exchange.phases, exchange.run.deadline, shared, _named())
    received = exchange.received = receive(flask.request.environ, terms)
    exchange.input_digest, exchange.size_in = received.input_digest, received.size
    exchange.instances = len(received.instances)
    if not received.in_memory:
        service.metrics.spool_bytes.inc(received.size)
    exchange.logger.add_tags({"input_hash": received.input_digest})
    exchange.logger.debug(
        "received %d bytes, %d files in %.3f s",
        received.size,
        len(received.instances),
        time.perf_counter() - exchange.started,
    )
    return received


def _named() -> "Named | None":
    """What this caller may name instead of sending it, where the gateway keeps studies."""
    if "gateway.studies" not in flask.current_app.extensions:
        return None
    from gateway.endpoints.recall import named

    return named()


def request_of(exchange: Exchange, received: Received) -> Request:
    """What was received in the model's words."""
    accept = flask.request.headers.get("Accept", "")
    return Request(
        received.json, received.instances, received.input_digest, request_id(), accept, exchange.at, exchange.run
    )


def infer(exchange: Exchange, request: Request) -> Result:
    """Have the model answer; what it does not say of the time was spent in line, or on the way."""
    exchange.begin("queue")
    result = exchange.service.infer(exchange.model, request, log=exchange.logger, gone=gone(flask.request.environ))
    for phase in result.phases.keys() - {"queue"}:
        exchange.phases.add(phase, result.phases[phase])
    exchange.begin("encode")
    exchange.card, exchange.batch_size = result.card, result.batch_size
    return result


def respond(exchange: Exchange, result: Result, more: Mapping[str, str] | None = None) -> flask.Response:
    """A checked answer as a response of known length, with ``more`` headers."""
    boundary = new_boundary()
    parts = list(_parts(exchange, result))
    headers = {
        "Content-Type": f"multipart/related; boundary={boundary}",
        "Content-Length": str(content_length(boundary, parts)),
        DIGEST_HEADER: exchange.service.settings.digest,
        TIMEOUT_HEADER: f"{exchange.timeout:g}",
    }
    receipt = receipt_headers(
        flask.request.environ,
        lambda: exchange.outcome(exchange.output.hexdigest()),
        algorithm=exchange.service.settings.digest,
        key=exchange.service.key,
    )
    exchange.begin("send")
    flask.request.environ["gateway.phases"] = exchange.phases.seconds
    response = flask.Response(_coalesced(encode(boundary, parts)), headers={**headers, **receipt, **(more or {})})
    response.call_on_close(exchange.close)
    return response


def _parts(exchange: Exchange, result: Result) -> Iterator[OutgoingPart]:
    """The parts of the answer; the last one's bytes are known once the others have been sent."""
    data = [memoryview(result.json_bytes), *(part.data for part in result.parts)]
    with exchange.phases.measure("hash"):
        for piece in data:
            exchange.output.update(len(piece), [piece])
    yield _part("json-body", "application/json", data[0])
    for index, part in enumerate(result.parts):
        yield _part(f"elem_{index}", part.media_type, part.data)

    def hashes() -> Iterator[bytes]:
        output_digest = exchange.output.hexdigest()
        if exchange.recall is not None:
            exchange.recall.keep(result, output_digest)
        exchange.answered(result, output_digest, sum(map(len, data)))
        yield f"{result.input_digest}:{output_digest}".encode("ascii")

    yield OutgoingPart(_headers("hashes", "text/plain"), HASHES_LENGTH, hashes())


def _part(name: str, media_type: str, data: memoryview) -> OutgoingPart:
    pieces = (data[start : start + SEND_SIZE] for start in range(0, len(data), SEND_SIZE))
    return OutgoingPart(_headers(name, media_type), len(data), pieces)


def _headers(name: str, media_type: str) -> tuple[tuple[str, str], ...]:
    return (
        ("Content-Disposition", f'form-data; name="{name}"; filename="{name}"'),
        ("Content-Type", media_type),
    )


def _coalesced(pieces: Iterator[bytes | memoryview]) -> Iterator[bytes]:
    """The same bytes in fewer pieces, each of them ``bytes``, which is all that gunicorn takes."""
    held = bytearray()
    for piece in pieces:
        if len(piece) < SMALL:
            held += piece
            continue
        if held:
            yield bytes(held)
            held.clear()
        yield bytes(piece)
    yield bytes(held)
