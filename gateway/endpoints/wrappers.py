"""AIGES wrappers over HTTP: the inference protocol's framing and hashes around a JSON of their own.

The JSON part's members are the wrapper's ``params``, and a part's name is its key. The answer is JSON
``{"aiges": [{key, type, status, len}]}`` and an ``elem_i`` for each entry. A streamed answer repeats that pair for each
answer of the wrapper, with continued numbers of the elements, and is sent as it is made; one that breaks off ends with
a ``problem`` in place of its hashes.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, count

import flask

from gateway.adapters.aiges.constants import DataEnd
from gateway.adapters.aiges.streaming import converse
from gateway.adapters.aiges.wrapper_answers import Item
from gateway.adapters.aiges.wrapper_inputs import request_list
from gateway.adapters.aiges.wrapper_model import WrapperModel, encode_json
from gateway.endpoints import inference
from gateway.endpoints.multipart_response import DIGEST_HEADER, hashes_of
from gateway.endpoints.problems import log_exception, problem_response
from gateway.errors import GatewayError, ModelFailed
from gateway.protocol.response import reporter
from gateway.service.exchange import Exchange
from gateway.service.service import Service
from gateway.wire import OutgoingPart, encode, new_boundary


def view(model: WrapperModel, service: Service) -> Callable[[], flask.Response]:
    """Return the view function of one wrapper's route."""
    answer = partial(_stream, model) if model.streams else partial(inference.respond, named=True)
    return inference.view(model, service, answer)


def _stream(model: WrapperModel, exchange: Exchange) -> flask.Response:
    """Stream the answers, after the first: a failure before it still gets its own status."""
    request = exchange.receive(inference.read_body, named=True)
    params = model.read_params(request.json)
    named = list(zip(request.names, request.instances, strict=True))
    pieces = request_list(model.inputs, named, DataEnd)  # the whole request is written at once
    report = reporter(strict=exchange.settings.strict, warn=exchange.logger.warning)
    exchange.begin("predict")
    answers = converse(model, params, pieces, report=report, deadline=exchange.deadline)
    first, boundary = next(answers), new_boundary()
    parts = _parts(exchange, chain([first], answers), request.input_digest)
    headers = {"Content-Type": f"multipart/related; boundary={boundary}", DIGEST_HEADER: exchange.settings.digest}
    response = flask.Response(flask.stream_with_context(map(bytes, encode(boundary, parts))), headers=headers)
    response.call_on_close(answers.close)
    response.call_on_close(exchange.close)
    return response


def _parts(exchange: Exchange, answers: Iterable[list[Item]], input_digest: str) -> Iterator[OutgoingPart]:
    numbers = count()
    try:
        for items in answers:
            for name, media_type, data in _described(items, numbers):
                exchange.hash(memoryview(data))
                yield OutgoingPart.named(name, media_type, data)
    except Exception as error:  # the status has been sent; the body can still report the problem
        yield OutgoingPart.named("problem", "application/problem+json", _problem(error, exchange))
        return
    yield OutgoingPart.named("hashes", "text/plain", hashes_of(input_digest, exchange.finish()))


def _described(items: list[Item], numbers: Iterator[int]) -> Iterator[tuple[str, str, bytes | memoryview]]:
    yield "json-body", "application/json", encode_json(items)
    for item in items:
        yield f"elem_{next(numbers)}", item.media_type, item.data


def _problem(error: Exception, exchange: Exchange) -> bytes:
    """Return the problem that ends a streamed answer, whose status 200 has been sent."""
    if not isinstance(error, GatewayError):
        log_exception(error)
        error = ModelFailed("The wrapper raised an exception. The gateway's log has it under this request id.")
    exchange.broke_off(error)
    return problem_response(error).get_data()
