"""The Open Inference Protocol v2 below ``/v2``: health, metadata and inference by tensors (docs/oip.md)."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import flask

from gateway import __version__
from gateway.contract.model import Model
from gateway.contract.requests import JSON, Result
from gateway.endpoints.access_control import caller, may_see_reasons, require
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import answering_inference
from gateway.endpoints.inference import answer_fields, open_exchange, sending
from gateway.endpoints.multipart_response import SEND_SIZE, coalesced
from gateway.endpoints.problems import add_members, sentence_of
from gateway.errors import ModelNotFound, ParameterRefused, RequestError
from gateway.intake.body import Body, read_json
from gateway.intake.receiving import Received, ReceiveOptions
from gateway.intake.tensor_body import receive_tensors
from gateway.protocol.oip.infer_answers import InferAnswer, infer_answer
from gateway.protocol.oip.infer_requests import HEADER, InferRequest
from gateway.protocol.oip.model_tensors import configuration, metadata
from gateway.protocol.request import parse_json
from gateway.service.exchange import Exchange

PREFIX = "/v2"
DOOR = "oip"
"""The name of this door in metrics, audit and logs."""
NAME = "inference-gateway"
EXTENSIONS = ["binary_tensor_data", "parameters", "model_configuration"]
ROOT_MODEL = "default"
"""The name of the model on ``/``."""


def add_oip(app: flask.Flask, taken: Collection[str]) -> None:
    """Add the routes, but for the paths that the service has ``taken``."""
    pages = flask.Blueprint("gateway_oip", __name__, url_prefix=PREFIX)
    for method, path, view in RULES:
        if f"{PREFIX}{path}" not in taken:
            endpoint = f"{method} {path}".replace(".", " ")
            pages.add_url_rule(path, endpoint, answering_inference(view), methods=[method])
    app.register_blueprint(pages)
    app.after_request(_name_error)


def model_name(route: str) -> str:
    """Return the name of a route's model: the path without its first slash."""
    return route.strip("/") or ROOT_MODEL


def _model(name: str, version: str = "") -> Model:
    """Return a model by its name, and check that it has the version. Raises ModelNotFound, Forbidden."""
    models = _models()
    routes = sorted(models, key=lambda route: route == "/")  # a route /default goes before the root
    route = next((route for route in routes if model_name(route) == name), None)
    if route is None:
        raise ModelNotFound(f"No model has this name; GET {PREFIX}/repository/index lists them.")
    require("infer", route=route)
    model = models[route]
    if version and version != _version(model):
        raise ModelNotFound("The model has no such version; its metadata lists those it has.")
    return model


def _models() -> dict[str, Model]:
    """Return the models by their routes, but for those that only their own route serves.

    An AIGES wrapper is one: its request has parts with names, and its answer may be a stream, as for runs.
    """
    return {route: model for route, model in current_service().models.items() if model.durable}


def _version(model: Model) -> str:
    return model.card.version


def _name_error(response: flask.Response) -> flask.Response:
    """Give each problem below the prefix the member ``error``, which clients of the protocol read."""
    path = flask.request.path
    if path == PREFIX or path.startswith(f"{PREFIX}/"):
        add_members(response, lambda problem: {"error": sentence_of(problem)})
    return response


def _server() -> flask.Response:
    return flask.jsonify({"name": NAME, "version": __version__, "extensions": EXTENSIONS})


def _live() -> flask.Response:
    return flask.jsonify({"live": True})


def _ready() -> flask.Response:
    return _readiness({"ready": current_service().report().ready})


def _model_ready(name: str, version: str = "") -> flask.Response:
    model = _model(name, version)
    health = current_service().report().models.get(model.name)
    return _readiness({"name": name, "ready": health is not None and health.serves})


def _readiness(body: JSON) -> flask.Response:
    response = flask.jsonify(body)
    response.status_code = 200 if body["ready"] else 503
    response.headers["Cache-Control"] = "no-store"
    return response


def _metadata(name: str, version: str = "") -> flask.Response:
    model = _model(name, version)
    return flask.jsonify(metadata(name, model, _version(model)))


def _config(name: str, version: str = "") -> flask.Response:
    return flask.jsonify(configuration(name, _model(name, version)))


def _index() -> flask.Response:
    """List the models that the caller may use; with ``{"ready": true}`` those that are ready."""
    service, environ = current_service(), flask.request.environ
    text = read_json(environ, service.settings) if environ.get("CONTENT_TYPE") else b""
    words = parse_json(text or b"{}", None)
    report, sender = service.report(), caller()
    found = []
    for route, model in _models().items():
        health = report.models.get(model.name)
        if sender is not None and not sender.may_use(route):
            continue
        ready = health is not None and health.serves
        reason = health.reason if health is not None and not ready and may_see_reasons() else ""
        entry = {"name": model_name(route), "version": _version(model), "state": "READY" if ready else "UNAVAILABLE"}
        if ready or not words.get("ready"):
            found.append(entry | {"reason": reason})
    return flask.jsonify(found)


def _infer(name: str, version: str = "") -> flask.Response:
    model, service = _model(name, version), current_service()
    call = _Call(name, model)
    with open_exchange(model, service, flask.request.environ, DOOR) as exchange:
        request = exchange.receive(call.receive)
        if call.infer.timeout is not None:
            exchange.limit(call.infer.timeout)
        try:
            result = exchange.infer(request)
        except ParameterRefused as error:
            raise call.infer.located(error) from error
        return call.response(exchange, result)


class _Call:
    """One inference request, as its JSON says it."""

    def __init__(self, name: str, model: Model) -> None:
        self._name, self._model = name, model
        self.infer = InferRequest("", (), {})

    def receive(self, options: ReceiveOptions) -> Received:
        """Read the body: a source for ``Exchange.receive``."""
        environ = flask.request.environ
        header = _header_length(environ)
        translate = partial(self._translate, binary=header is not None)
        return receive_tensors(Body.of(environ, options.settings, options.ticket), header, translate, options)

    def _translate(self, words: JSON, *, binary: bool) -> InferRequest:
        self.infer = InferRequest.of(words, self._model.describe(), binary=binary)
        return self.infer

    def response(self, exchange: Exchange, result: Result) -> flask.Response:
        """Return the answer as JSON and the bytes of its tensors."""
        version = result.card.version
        members = {"model_name": self._name} | ({"model_version": version} if version else {})
        answer = infer_answer(result, self.infer, members, exchange.settings.max_json_values)
        exchange.answer(result)
        headers = {"Content-Length": str(answer.size), **answer_fields(exchange)}
        headers |= {HEADER: str(len(answer.text))} if answer.binary else {}
        media_type = "application/octet-stream" if answer.binary else "application/json"
        return sending(exchange, flask.Response(_sent(answer, exchange), headers=headers, content_type=media_type))


def _sent(answer: InferAnswer, exchange: Exchange) -> Iterator[bytes]:
    """Yield the bytes of an answer; its digest is computed beside."""
    pieces = (piece[at : at + SEND_SIZE] for piece in answer.pieces() for at in range(0, len(piece), SEND_SIZE))
    yield from coalesced(pieces)
    exchange.finish()


def _header_length(environ: dict[str, Any]) -> int | None:
    text = environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise RequestError(f"{HEADER} should be the number of bytes of the JSON.")
    return int(text)


MODEL_RULES: tuple[tuple[str, str, Callable[..., flask.Response]], ...] = (
    ("GET", "", _metadata),
    ("GET", "/config", _config),
    ("GET", "/ready", _model_ready),
    ("POST", "/infer", _infer),
)
MODEL, VERSION = "/models/<path:name>", "/models/<path:name>/versions/<version>"
RULES: tuple[tuple[str, str, Callable[..., flask.Response]], ...] = (
    ("GET", "", _server),
    ("GET", "/health/live", _live),
    ("GET", "/health/ready", _ready),
    ("POST", "/repository/index", _index),
    *((method, f"{model}{path}", view) for model in (MODEL, VERSION) for method, path, view in MODEL_RULES),
)
