"""WASM functions over HTTP: a file as the body is answered with a file as the body, unless Accept names a form."""

from collections.abc import Callable
from functools import partial

import flask

from gateway.contract.model import Model
from gateway.endpoints import inference
from gateway.errors import NotAcceptable
from gateway.protocol.accept import JSON, ZIP, answer_form
from gateway.protocol.media_ranges import MULTIPART
from gateway.service.exchange import Exchange
from gateway.service.service import Service
from gateway.wire import parse_options_header

IN_PARTS = (MULTIPART, "application/json")
"""Media types of requests that are answered in a form of every model; the second names its study."""


def view(model: Model, service: Service) -> Callable[[], flask.Response]:
    """Return the view function of one function's route."""
    return inference.view(model, service, _respond)


def _respond(exchange: Exchange) -> flask.Response:
    if not _wants_file(flask.request.environ.get("CONTENT_TYPE", ""), exchange.head.accept):
        return inference.respond(exchange, any_file=True)
    from gateway.endpoints.answer_forms import whole  # which a client of parts spares

    result = exchange.infer(exchange.receive(partial(inference.read_body, any_file=True)))
    (part,) = result.parts
    response = whole(exchange, result, part.media_type, part.data)
    response.vary.add("Accept")
    return response


def _wants_file(content_type: str, accept: str) -> bool:
    """Return True where the answer is the file alone, of any media type: only the function knows which it makes."""
    if parse_options_header(content_type)[0] in IN_PARTS:
        return False
    try:
        form = answer_form(accept).media_type
    except NotAcceptable:
        return True
    return form not in (JSON, ZIP) and MULTIPART not in accept.lower()
