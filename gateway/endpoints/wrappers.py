"""AIGES wrappers over HTTP: the inference protocol's framing and hashes around a JSON of their own.

The JSON part's members are the wrapper's ``params``, and a part's name is its key. The answer is JSON
``{"aiges": [{key, type, status, len}]}`` and an ``elem_i`` for each entry. A streamed answer repeats that pair for each
answer of the wrapper, the numbers of the elements going on, and leaves as it is made; one that breaks off ends with a
``problem`` where its hashes would be.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, count
from typing import Any

import flask

from gateway.adapters.aiges.answers import Item
from gateway.adapters.aiges.constants import DataEnd
from gateway.adapters.aiges.inputs import request_list
from gateway.adapters.aiges.model import WrapperModel, encode_json
from gateway.adapters.aiges.streaming import converse
from gateway.endpoints.exchange import Exchange
from gateway.endpoints.inference import admitted, infer, request_of, respond, take
from gateway.endpoints.problems import log_exception, problem_response
from gateway.endpoints.receiving import Received
from gateway.endpoints.related import DIGEST_HEADER
from gateway.errors import GatewayError, ModelFailed
from gateway.service import Service
from gateway.wire import Headers, OutgoingPart, encode, new_boundary, parse_options_header


def view(model: WrapperModel, service: Service) -> Callable[[], flask.Response]:
    """The view function of one wrapper's route."""
    reply = _stream if model.streams else _reply
    return admitted(model, service, lambda exchange: reply(exchange, model))


def _reply(exchange: Exchange, model: WrapperModel) -> flask.Response:
    received = take(exchange)
    request = replace(request_of(exchange, received), names=_names(received))
    return respond(exchange, infer(exchange, request))


def _stream(exchange: Exchange, model: WrapperModel) -> flask.Response:
    """The first answer is waited for: what fails before it has a status of its own."""
    settings = exchange.service.settings
    received = take(exchange)
    params = model.read_params(received.json)
    named = list(zip(_names(received), received.instances, strict=True))
    request = request_list(model.inputs, named, DataEnd)  # the whole request is written at once
    rules: dict[str, Any] = {"strict": settings.strict, "warn": exchange.logger.warning}
    exchange.phases.begin("predict")
    answers = converse(model, params, request, **rules, deadline=exchange.run.deadline)
    first, boundary = next(answers), new_boundary()
    parts = _streamed_parts(exchange, chain([first], answers), received.input_digest)
    headers = {"Content-Type": f"multipart/related; boundary={boundary}", DIGEST_HEADER: settings.digest}
    response = flask.Response(flask.stream_with_context(map(bytes, encode(boundary, parts))), headers=headers)
    response.call_on_close(answers.close)
    response.call_on_close(exchange.close)
    return response


def _names(received: Received) -> tuple[str | None, ...]:
    """The names of the parts by their headers; the files of a studyPath have none."""
    return tuple(map(_name, received.headers)) or (None,) * len(received.instances)


def _name(headers: Headers) -> str | None:
    return parse_options_header(headers.get("Content-Disposition", ""))[1].get("name") or None


def _streamed_parts(exchange: Exchange, answers: Iterable[list[Item]], input_digest: str) -> Iterator[OutgoingPart]:
    numbers, size = count(), 0
    try:
        for items in answers:
            for name, media_type, data in _described(items, numbers):
                exchange.output.update(len(data), [data])
                size += len(data)
                yield OutgoingPart.named(name, media_type, data)
    except Exception as error:  # the status has gone out; the body can still say what happened
        yield OutgoingPart.named("problem", "application/problem+json", _problem(error, exchange))
        return
    output_digest = exchange.output.hexdigest()
    exchange.output_digest, exchange.size_out = output_digest, size
    exchange.logger.add_tags({"output_hash": output_digest})
    exchange.logger.info("streamed in %.3f s, %d bytes out", time.perf_counter() - exchange.started, size)
    yield OutgoingPart.named("hashes", "text/plain", f"{input_digest}:{output_digest}".encode("ascii"))


def _described(items: list[Item], numbers: Iterator[int]) -> Iterator[tuple[str, str, bytes | memoryview]]:
    yield "json-body", "application/json", encode_json(items)
    for item in items:
        yield f"elem_{next(numbers)}", item.media_type, item.data


def _problem(error: Exception, exchange: Exchange) -> bytes:
    if not isinstance(error, GatewayError):
        log_exception(error)
        error = ModelFailed("The wrapper raised an exception. The gateway's log has it under this request id.")
    exchange.reason = error.code
    return problem_response(error).get_data()
