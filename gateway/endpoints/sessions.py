"""Click sessions over HTTP: opened, clicked into, read, finished and ended (docs/sessions.md)."""

import re
from collections.abc import Collection
from functools import partial

import flask

from gateway.contract.requests import JSON
from gateway.endpoints.access_control import caller_name, require
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule, admission_ticket, answering
from gateway.endpoints.inference import read_body
from gateway.endpoints.problems import request_id
from gateway.endpoints.stored_answers import StoredAnswer, requested_form
from gateway.endpoints.timeouts import requested_timeout
from gateway.errors import ParameterRefused
from gateway.intake.body import read_json
from gateway.protocol.request import parse_json
from gateway.sessions.click_session import FinishedSession
from gateway.sessions.click_sessions import DELETE, ClickSessions, Opening

NUMBER = re.compile(r"[0-9]{1,18}")


def add_sessions(app: flask.Flask, taken: Collection[str]) -> None:
    """Add the routes of sessions, but for the paths that the service has ``taken``."""
    pages = flask.Blueprint("gateway_sessions", __name__)
    for method, path, view in RULES:
        if path not in taken:
            pages.add_url_rule(path, f"{method} {path}".replace(".", " "), answering(view), methods=[method])
    app.register_blueprint(pages)


def _open() -> flask.Response:
    route = flask.request.args.get("route", "")
    if not route:
        raise ParameterRefused([("/route", "route should be the route of a model, such as ?route=/region-growing.")])
    require("infer", route=route)
    environ = flask.request.environ
    opened = _sessions().open(
        Opening(
            route=route,
            request_id=request_id(),
            caller=caller_name(),
            source=read_body,
            accept=environ.get("HTTP_ACCEPT", ""),
            traceparent=environ.get("HTTP_TRACEPARENT", ""),
            timeout=partial(requested_timeout, environ),
        )
    )
    answer = _session(opened, 201)
    answer.headers["Location"] = _path(opened["id"])
    return answer


def _read(id: str) -> flask.Response:
    require("read")
    return _session(_call("read", id))


def _region(id: str) -> flask.Response:
    require("read")
    since = flask.request.args.get("since", "0")
    if not NUMBER.fullmatch(since):
        raise ParameterRefused([("/since", "since should be the number of a region.")])
    return flask.jsonify(_call("region", id, {"since": int(since)}))


def _input(id: str) -> flask.Response:
    require("infer")
    words = parse_json(read_json(flask.request.environ, current_service().settings), None)
    with admission_ticket():
        return _session(_call("input", id, words))


def _finish(id: str) -> flask.Response:
    require("infer")
    form = requested_form()
    with admission_ticket():
        finished = _sessions().call("finish", caller_name(), id, {})
    assert isinstance(finished, FinishedSession)
    answer = StoredAnswer(
        finished.result,
        finished.output_digest,
        current_service().settings.digest,
        finished.route,
        finished.received,
        lambda _ticket: finished.opened(),
    )
    return (answer.with_objects() if form.dicom else answer).response(form)


def _delete(id: str) -> flask.Response:
    require("infer")
    _call(DELETE, id)
    return flask.Response(status=204)


def _call(verb: str, id: str, words: JSON | None = None) -> JSON:
    reply = _sessions().call(verb, caller_name(), id, words or {})
    assert isinstance(reply, dict)
    return reply


def _session(words: JSON, status: int = 200) -> flask.Response:
    path = _path(words["id"])
    links = {"self": path} | {name: f"{path}/{name}" for name in ("input", "region", "finish")}
    answer = flask.jsonify(words | {"links": links})
    answer.status_code = status
    return answer


def _path(id: str) -> str:
    return f"{flask.request.script_root}/sessions/{id}"


def _sessions() -> ClickSessions:
    sessions: ClickSessions = flask.current_app.extensions["gateway.sessions"]
    return sessions


RULES: tuple[Rule, ...] = (
    ("POST", "/sessions", _open),
    ("GET", "/sessions/<id>", _read),
    ("GET", "/sessions/<id>/region", _region),
    ("POST", "/sessions/<id>/input", _input),
    ("POST", "/sessions/<id>/finish", _finish),
    ("DELETE", "/sessions/<id>", _delete),
)
