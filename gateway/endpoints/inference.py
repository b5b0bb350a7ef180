"""The inference protocol over HTTP: ``multipart/related`` in, ``multipart/related`` out."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import flask

from gateway.contract.model import Model
from gateway.contract.requests import Result
from gateway.endpoints.access_control import caller_name, refuse_foreign_form
from gateway.endpoints.disconnection import client_disconnected
from gateway.endpoints.multipart_response import DIGEST_HEADER, hashes_of, model_fields, parts_of
from gateway.endpoints.multipart_response import response as multipart
from gateway.endpoints.problems import DOOR, DOOR_KEY, LOG_TAGS, PHASES, problem_response, request_id
from gateway.endpoints.timeouts import TIMEOUT_HEADER, requested_timeout
from gateway.errors import GatewayError
from gateway.intake.body import Body, lend_while_waiting
from gateway.intake.receiving import Received, ReceiveOptions
from gateway.intake.request_bodies import receive_body
from gateway.observe.audit.receipts import HEADER, PREFERENCE, header_of, is_wanted
from gateway.protocol.accept import answer_form
from gateway.protocol.media_ranges import MULTIPART
from gateway.protocol.preferences import asynchronous
from gateway.service.exchange import Exchange, Head
from gateway.service.service import Service

LOCAL_CALLER = "gateway.local_caller"
"""Among the extensions of an application: the caller in its own process, who hears and answers its models."""
Answer = Callable[[Exchange], flask.Response]
"""From an open exchange to its response; a response closes the exchange with its last byte."""


def view(model: Model, service: Service, answer: Answer | None = None) -> Callable[[], flask.Response]:
    """Return the view function of one model's route. A refusal never reaches the service's own error handlers."""

    def infer() -> flask.Response:
        has_runs = model.durable and service.store is not None
        try:
            response = _answered(model, service, answer or respond, has_runs=has_runs)
        except GatewayError as error:
            response = problem_response(error)
        if has_runs:
            response.vary.add("Prefer")  # of every response, whatever its request prefers (RFC 7240 2)
        return response

    return infer


def _answered(model: Model, service: Service, answer: Answer, *, has_runs: bool) -> flask.Response:
    environ = flask.request.environ
    if has_runs and "HTTP_PREFER" in environ:
        wait = asynchronous(environ["HTTP_PREFER"])
        if wait is not None:
            return _respond_async(model.name, wait)
    with open_exchange(model, service, environ) as exchange:
        return answer(exchange)


def respond(exchange: Exchange, *, named: bool = False, any_file: bool = False) -> flask.Response:
    """Receive, infer and answer in the form that the request accepts; ``named`` gives the model the names of the parts.

    ``any_file`` is that of ``receive_body``. Raises NotAcceptable before the request is received.
    """
    form = answer_form(exchange.head.accept)
    request = exchange.receive(partial(read_body, any_file=any_file), named=named)
    result = exchange.infer(request)
    if form.media_type == MULTIPART:
        response = in_parts(exchange, result)
    else:
        from gateway.endpoints.answer_forms import in_form  # which a client of parts spares

        response = in_form(exchange, request, result, form)
    response.headers.add("Vary", "Accept")
    return response


def read_body(options: ReceiveOptions, *, any_file: bool = False) -> Received:
    """Read the body of this request: a source for ``Exchange.receive``. ``any_file`` is that of ``receive_body``."""
    refuse_foreign_form()
    environ = flask.request.environ
    body = Body.of(environ, options.settings, options.ticket, environ.get("QUERY_STRING", ""))
    return receive_body(body, options, any_file=any_file)


def _respond_async(route: str, wait: float) -> flask.Response:
    from gateway.endpoints.guarded_views import answering
    from gateway.endpoints.runs import respond_async  # SQLAlchemy, which a gateway without a store spares

    return answering(respond_async)(route, wait)


def open_exchange(model: Model, service: Service, environ: dict[str, Any], door: str = "", **members: Any) -> Exchange:
    """Open the exchange of this request; ``members`` of its ``Head`` go before those that the request states.

    Raises Unavailable, and RequestError for an invalid timeout.
    """
    stated = {
        "door": door or environ.get(DOOR_KEY, DOOR),
        "request_id": request_id(),
        "caller": caller_name(),
        "accept": environ.get("HTTP_ACCEPT", ""),
        "traceparent": environ.get("HTTP_TRACEPARENT", ""),
        "no_cache": "no-cache" in environ.get("HTTP_CACHE_CONTROL", "").lower(),
        "gone": partial(client_disconnected, environ),
    }
    head = Head(**(stated | _local_caller() | members))
    environ[LOG_TAGS], environ[PHASES] = head.tags(model.name), head.phases.seconds
    exchange = service.open_exchange(model, head, partial(requested_timeout, environ))
    environ[LOG_TAGS] = exchange.logger.tags
    return exchange


def _local_caller() -> dict[str, Any]:
    caller = flask.current_app.extensions.get(LOCAL_CALLER)
    return {} if caller is None else {name: getattr(caller, name) for name in ("progress", "log", "preview", "ask")}


def in_parts(exchange: Exchange, result: Result) -> flask.Response:
    """Return a checked answer as a response of known length; its digest is computed while it is sent."""
    exchange.answer(result)

    def hashes() -> Iterator[bytes]:
        yield hashes_of(result.input_digest, exchange.finish())

    headers = {DIGEST_HEADER: exchange.settings.digest, **answer_fields(exchange)}
    return sending(exchange, multipart(parts_of(result, hashes()), headers))


def answer_fields(exchange: Exchange) -> dict[str, str]:
    """Return the fields of a response that every form of an answer has, the receipt among them."""
    fields = {TIMEOUT_HEADER: f"{exchange.timeout:g}"}
    fields |= model_fields(exchange.model.card, exchange.model.name) | receipt_fields(exchange, flask.request.environ)
    return fields if exchange.age is None else {**fields, "Age": str(exchange.age)}


def sending(exchange: Exchange, answer: flask.Response) -> flask.Response:
    """Have a response close its exchange with its last byte, and lend its place while its client is slow."""
    answer.call_on_close(exchange.close)
    lend_while_waiting(flask.request.environ, exchange.ticket)
    exchange.begin("send")
    return answer


def receipt_fields(exchange: Exchange, environ: dict[str, Any]) -> dict[str, str]:
    """Return the fields of the receipt, where the request's ``Prefer`` asks for one (RFC 7240).

    The answer is then hashed before its head is sent, not beside it.
    """
    if not is_wanted(environ.get("HTTP_PREFER", "")):
        return {}
    return {HEADER: header_of(exchange.receipt()), "Preference-Applied": PREFERENCE}
