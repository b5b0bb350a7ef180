"""Errors as ``application/problem+json`` (RFC 9457), each with the request's id."""

import hashlib
import json
import logging
import re
from collections.abc import Callable

import flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from gateway.contract.requests import JSON
from gateway.endpoints.current import current_service
from gateway.errors import AnswerInvalid, Cancelled, GatewayError, ModelFailed
from gateway.observe.logs import TAGS, exception_frames
from gateway.observe.phases import server_timing
from gateway.protocol.faults import loggable
from gateway.service.exchange import new_request_id

logger = logging.getLogger("gateway")

REQUEST_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""Values of a caller's ``X-Request-ID`` that are used unchanged: 128 bits as UUIDs and nginx write them, which
cannot be a patient's name. Any other value is replaced by its digest."""

DOOR = "multipart"
"""The name of the door of the models' own routes, in metrics, audit and logs."""

DOOR_KEY = "gateway.door"
"""The key of the door of a request in the WSGI environment, where another protocol led to a model's own route."""

MEDIA_TYPE = "application/problem+json"

LOG_TAGS = "gateway.log_tags"
"""The key of the log tags of an inference request in the WSGI environment."""


RAISED = "gateway.raised"
"""The key of a list among an application's extensions that takes errors in place of the log: for ``run``."""

PHASES = "gateway.phases"
"""The key of an inference request's seconds by phase."""


def request_id() -> str:
    """Return the id of this request: the caller's or its digest, else a new one of 128 bits."""
    environ = flask.request.environ
    if "gateway.request_id" not in environ:
        received = environ.get("HTTP_X_REQUEST_ID", "")
        derived = hashlib.sha256(received.encode()).hexdigest()[:32] if received else new_request_id()
        environ["gateway.request_id"] = received if REQUEST_ID.fullmatch(received) else derived
    return str(environ["gateway.request_id"])


def description() -> dict[str, str]:
    """Return the fields in which every response describes its request: the id, and its seconds by phase if known."""
    fields = {"X-Request-ID": request_id()}
    if phases := flask.request.environ.get(PHASES):
        fields["Server-Timing"] = server_timing(phases)
    return fields


def problem_response(error: GatewayError) -> flask.Response:
    """Return the response to a refused or failed request; log it with its private text."""
    if _caught(error):
        return _response(error.problem(), error.headers())
    level = logging.INFO if isinstance(error, Cancelled) else logging.ERROR if error.status == 500 else logging.WARNING
    text = f"{loggable(error.pointer)} {error.detail}" if isinstance(error, AnswerInvalid) else error.reason
    event = f"{error.status} {error.code}{text and ': '}{text}"
    logger.log(level, "%s [%s]", event, request_id(), extra=_tags())
    return _response(error.problem(), error.headers())


def handle_exception(error: Exception) -> flask.Response:
    """Answer an exception for which the service registered no handler of its own."""
    if isinstance(error, HTTPException):
        return _http_problem(error)
    if isinstance(error, GatewayError):
        return problem_response(error)
    log_exception(error)
    return problem_response(
        ModelFailed("The model raised an exception. The gateway's log has it under this request id.")
    )


def log_exception(error: BaseException) -> None:
    """Log the type and the frames of an exception; its text only where the settings allow it."""
    if _caught(error):
        return
    with_text = current_service().settings.log_exception_text
    logger.error("exception [%s]\n%s", request_id(), exception_frames(error, with_text=with_text), extra=_tags())


def _caught(error: BaseException) -> bool:
    """Return True if a list takes this error in place of the log."""
    errors: list[BaseException] | None = flask.current_app.extensions.get(RAISED)
    if errors is not None:
        errors.append(error)
    return errors is not None


def _tags() -> dict[str, dict[str, object]]:
    """Return the tags that a log line shares with the other lines of its request."""
    return {TAGS: flask.request.environ.get(LOG_TAGS) or {"request_id": request_id()}}


def _http_problem(error: HTTPException) -> flask.Response:
    body = {"type": "about:blank", "title": error.name, "status": error.code or 500, "detail": _detail(error)}
    headers = {name: value for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length")}
    return _response(body, headers)


def _detail(error: HTTPException) -> str | None:
    """Return what to do about a missing route or method, unless the service has described it itself."""
    if error.description != type(error).description:
        return error.description
    if isinstance(error, MethodNotAllowed):
        return f"This route takes {', '.join(sorted(error.valid_methods or ()))}; GET /docs describes the routes."
    if isinstance(error, NotFound):
        return "No route has this path; GET /docs lists the routes."
    return error.description


def _response(body: dict[str, object], headers: dict[str, str]) -> flask.Response:
    text = json.dumps(body | {"request_id": request_id()})
    return flask.Response(text, int(str(body["status"])), headers, content_type=MEDIA_TYPE)


def add_members(response: flask.Response, members: Callable[[JSON], JSON]) -> None:
    """Add to a problem what the clients of another protocol read in it; any other response stays as it is."""
    if response.mimetype == MEDIA_TYPE:
        problem = json.loads(response.get_data())
        response.set_data(json.dumps(problem | members(problem)))


def sentence_of(problem: JSON) -> str:
    """Return what a problem tells its reader: the detail, or else the title."""
    return str(problem.get("detail") or problem["title"])
