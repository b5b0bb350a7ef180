"""The inference protocol over HTTP: ``multipart/related`` in, ``multipart/related`` out."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import flask

from gateway.contract import Model, Request, Result
from gateway.endpoints.exchange import Exchange
from gateway.endpoints.presence import TIMEOUT_HEADER, gone, granted_timeout
from gateway.endpoints.problems import LOG_TAGS, problem_response, request_id
from gateway.endpoints.receipts import receipt_headers
from gateway.endpoints.receiving import Received, Terms, receive
from gateway.endpoints.related import DIGEST_HEADER, hashes_of, parts_of, response
from gateway.errors import GatewayError, ModelFailed
from gateway.observe.logs import TaggedLogger
from gateway.observe.outcomes import Outcome
from gateway.protocol.digests import Digest, hash_function
from gateway.service import Service

if TYPE_CHECKING:
    from gateway.endpoints.recall import Named
    from gateway.studies.results import KeptResult

logger = logging.getLogger("gateway")

Answer = Callable[[Exchange], flask.Response]
"""From an admitted request to the response; closes the exchange when that has been sent."""


def view(model: Model, service: Service) -> Callable[[], flask.Response]:
    """The view function of one model's route."""

    def answer(exchange: Exchange) -> flask.Response:
        received = take(exchange)
        request = request_of(exchange, received)
        if received.held and (kept := _kept(exchange, request, received)):
            return respond(exchange, kept.result, {"Age": str(kept.age)}, output_digest=kept.output_digest)
        return respond(exchange, infer(exchange, request))

    return admitted(model, service, answer)


def admitted(model: Model, service: Service, answer: Answer) -> Callable[[], flask.Response]:
    """A view function: what the gateway refuses is answered here and never reaches the service."""
    new_hash, most = hash_function(service.settings.digest), service.timeout(model)

    def do_inference() -> flask.Response:
        started, log, environ, number = time.perf_counter(), TaggedLogger(logger), flask.request.environ, request_id()
        log.add_tags({"request_id": number, "route": model.name})
        environ[LOG_TAGS] = log.tags
        try:
            timeout = granted_timeout(environ, most)
            ticket = service.admit(model)
        except GatewayError as error:
            service.told(_refused(model, error, time.perf_counter() - started))
            return problem_response(error)
        output = Digest(new_hash, overlap=ticket.idle_core)
        exchange = Exchange(model, service, ticket, timeout, log, output, environ, number)
        service.metrics.in_flight.inc()
        environ["gateway.phases"] = exchange.phases.seconds
        try:
            return answer(exchange)
        except GatewayError as error:
            exchange.failed(error)
            exchange.close()
            return problem_response(error)
        except BaseException:
            exchange.failed(ModelFailed())
            exchange.close()
            raise

    return do_inference


def _refused(model: Model, error: GatewayError, seconds: float) -> Outcome:
    """What came of a request that was turned away at its head."""
    phases = flask.request.environ["gateway.phases"] = {"receive": seconds}
    return Outcome(
        request_id=request_id(),
        route=model.name,
        status=error.status,
        received=datetime.now(UTC),
        seconds=seconds,
        reason=error.code,
        phases=phases,
        traceparent=flask.request.environ.get("HTTP_TRACEPARENT", ""),
    )


def _kept(exchange: Exchange, request: Request, received: Received) -> "KeptResult | None":
    """The answer that was given to the same before; where there is none, the one to come will be kept."""
    from gateway.endpoints.recall import Recall

    card = exchange.service.executor(exchange.model).card(exchange.model)
    recall = Recall.of(exchange.model, card, request, received.held)
    if recall is None:
        return None
    kept = recall.find(card, received.input_digest)
    if kept is None or card is None:
        exchange.recall = recall
    else:
        exchange.cached, exchange.card = True, replace(card, parameters_digest=recall.parameters_digest)
    return kept


def take(exchange: Exchange) -> Received:
    """Receive the request of an exchange."""
    service = exchange.service
    shared = service.executor(exchange.model).memory
    terms = Terms(service.settings, exchange.ticket, exchange.phases, exchange.run.deadline, shared, _named())
    received = exchange.received = receive(exchange.environ, terms)
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
    number, accept = exchange.request_id, exchange.environ.get("HTTP_ACCEPT", "")
    return Request(received.json, received.instances, received.input_digest, number, accept, exchange.at, exchange.run)


def infer(exchange: Exchange, request: Request) -> Result:
    """Have the model answer; what it does not say of the time was spent in line, or on the way."""
    exchange.phases.begin("queue")
    try:
        result = exchange.service.infer(
            exchange.model, request, log=exchange.logger, gone=partial(gone, exchange.environ)
        )
    except BaseException:
        exchange.interrupted()
        raise
    for phase, seconds in result.phases.items():
        exchange.phases.add(phase, seconds, of="queue")
    exchange.phases.begin("encode")
    exchange.card, exchange.batch_size = result.card, result.batch_size
    if result.card.version:
        exchange.logger.add_tags({"model_version": result.card.version})
    return result


def respond(
    exchange: Exchange, result: Result, more: Mapping[str, str] | None = None, *, output_digest: str = ""
) -> flask.Response:
    """A checked answer as a response of known length, with ``more`` headers.

    A stored answer has an ``output_digest``, and is not hashed again: it leaves under the digest of its first time.
    """
    data = [memoryview(result.json_bytes), *(part.data for part in result.parts)]
    if not output_digest:
        with exchange.phases.measure("hash"):
            for piece in data:
                exchange.output.update(len(piece), [piece])

    def digest() -> str:
        return output_digest or exchange.output.hexdigest()

    def hashes() -> Iterator[bytes]:
        if exchange.recall is not None:
            exchange.recall.keep(result, digest())
        exchange.answered(result, digest(), sum(map(len, data)))
        yield hashes_of(result.input_digest, digest())

    algorithm = exchange.service.settings.digest
    headers = {DIGEST_HEADER: algorithm, TIMEOUT_HEADER: f"{exchange.timeout:g}"} | receipt_headers(
        exchange.environ,
        lambda: exchange.outcome(digest()),
        algorithm=algorithm,
        key=exchange.service.key,
    )
    answer = response(parts_of(result, hashes()), {**headers, **(more or {})})
    answer.call_on_close(exchange.close)
    exchange.phases.begin("send")
    return answer
