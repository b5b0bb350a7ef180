"""Liveness of the server and readiness of its models, for load balancers, Kubernetes and viewers.

No response waits for a model, and every worker of a server gives the same one.
"""

from collections.abc import Callable, Collection
from typing import Any

import flask

from gateway.endpoints.access_control import may_see_reasons
from gateway.endpoints.current import current_service
from gateway.service.service import Report

PONG = "inference-service is up and accepting connections"
View = Callable[[], flask.Response]


def blueprint(own_paths: Collection[str]) -> flask.Blueprint:
    """Return the probes, except on ``own_paths``, which have rules of the service."""
    probes = flask.Blueprint("gateway_health", __name__)
    for path, view in PROBES.items():
        if path not in own_paths:
            probes.add_url_rule(path, view_func=view, methods=["GET", "POST"])
    return probes


def _ping() -> flask.Response:
    return _text(PONG)


def _healthcheck() -> flask.Response:
    """Answer with the state in one word, as the predecessor's callers read it; always 200."""
    return _text(_report().word.upper())


def _livez() -> flask.Response:
    """Answer that the process lives. An unready model is no reason to kill it."""
    return _text("ok")


def _startupz() -> flask.Response:
    report = _report()
    return _response(report, report.started)


def _readyz() -> flask.Response:
    report = _report()
    return _response(report, report.ready)


PROBES: dict[str, View] = {
    "/ping": _ping,
    "/healthcheck": _healthcheck,
    "/livez": _livez,
    "/startupz": _startupz,
    "/readyz": _readyz,
}


def _report() -> Report:
    return current_service().report()


def _response(report: Report, well: bool) -> flask.Response:
    """Answer 200 or 503 with the state, and the reasons by model for a caller that may see them."""
    body: dict[str, Any] = {"status": report.word}
    if may_see_reasons():
        body["models"] = {name: health.words() for name, health in report.models.items()}
    response = flask.jsonify(body)
    response.status_code = 200 if well else 503
    response.headers["Cache-Control"] = "no-store"
    return response


def _text(text: str) -> flask.Response:
    return flask.Response(text, content_type="text/plain; charset=utf-8")
