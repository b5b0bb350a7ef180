"""WASM functions over HTTP: a file as the body is answered with a file as the body, and parts with parts."""

from collections.abc import Callable, Iterator
from functools import partial

import flask

from gateway.contract.model import Model
from gateway.contract.requests import Result
from gateway.endpoints import inference
from gateway.endpoints.multipart_response import SEND_SIZE
from gateway.service.exchange import Exchange
from gateway.service.service import Service
from gateway.wire import parse_options_header

PARTS = "multipart/related"
IN_PARTS = (PARTS, "application/json")
"""Media types of requests that are answered in parts; the second names its study."""


def view(model: Model, service: Service) -> Callable[[], flask.Response]:
    """Return the view function of one function's route."""
    return inference.view(model, service, _respond)


def _respond(exchange: Exchange) -> flask.Response:
    result = exchange.infer(exchange.receive(partial(inference.read_body, any_file=True)))
    environ = flask.request.environ
    sent = parse_options_header(environ.get("CONTENT_TYPE", ""))[0]
    if sent in IN_PARTS or PARTS in environ.get("HTTP_ACCEPT", "").lower():
        return inference.in_parts(exchange, result)
    return _as_file(exchange, result)


def _as_file(exchange: Exchange, result: Result) -> flask.Response:
    """Return the one part of an answer as the body, of known length."""
    exchange.answer(result)
    (part,) = result.parts

    def body() -> Iterator[bytes]:
        for start in range(0, len(part.data), SEND_SIZE):
            yield bytes(part.data[start : start + SEND_SIZE])
        exchange.finish()

    fields = {"Content-Length": str(len(part.data)), **inference.answer_fields(exchange)}
    return inference.sending(exchange, flask.Response(body(), content_type=part.media_type, headers=fields))
