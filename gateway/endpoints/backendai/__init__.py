"""Backend.AI's API (v6.20220315) below ``/backendai``: its client drives the models unchanged (docs/backendai.md)."""

from collections.abc import Collection
from typing import Any

import flask

from gateway.endpoints.backendai import execution_views, file_views, session_views, stream_views
from gateway.endpoints.backendai.door import EXTENSION, BackendAI, refuse_owner, refuse_replay
from gateway.endpoints.guarded_views import Rule, answering
from gateway.endpoints.introspection import wants_page
from gateway.endpoints.problems import problem_response
from gateway.errors import GatewayError
from gateway.runs.runs import Runs

PREFIX = "/backendai"
API_VERSION = "v6.20220315"
SESSIONS = ("/session", "/kernel")
"""Sessions, by the name of this version and that of versions before 5."""
SAFE = ("GET", "HEAD", "OPTIONS")
RULES: tuple[Rule, ...] = (*session_views.RULES, *execution_views.RULES, *file_views.RULES)


def add_backendai(app: flask.Flask, taken: Collection[str]) -> None:
    """Add the routes of an application with runs, but for the paths that the service has ``taken``."""
    runs: Runs = app.extensions["gateway.runs"]
    app.extensions[EXTENSION] = BackendAI.of(app.extensions["gateway"], runs)
    pages = flask.Blueprint("gateway_backendai", __name__, url_prefix=PREFIX)
    pages.before_request(_before)
    pages.add_url_rule("", "version", _version, methods=["GET"], strict_slashes=False)
    pages.add_url_rule("/", "version of a signed request", _version, methods=["GET"])
    for root in SESSIONS:
        for method, path, view in RULES:
            _add(pages, taken, f"{root}{path}", method, view)
        for method, path, view in stream_views.RULES:
            _add(pages, taken, f"/stream{root}{path}", method, view, websocket=True)
    app.register_blueprint(pages)


def _add(
    pages: flask.Blueprint, taken: Collection[str], path: str, method: str, view: Any, *, websocket: bool = False
) -> None:
    if f"{PREFIX}{path}" not in taken:
        endpoint = f"{method} {path}".replace(".", " ")
        pages.add_url_rule(path, endpoint, answering(view), methods=[method], websocket=websocket)


def _before() -> flask.Response | None:
    """Refuse a request in another's name, and one that was sent before where it would change something."""
    if flask.request.url_rule is None or flask.request.url_rule.rule == PREFIX:
        return None
    try:
        refuse_owner()
        if flask.request.method not in SAFE or flask.request.path.startswith(f"{PREFIX}/stream/"):
            refuse_replay()
    except GatewayError as error:
        return problem_response(error)
    return None


def _version() -> flask.Response:
    if wants_page():
        return flask.Response("Backend.AI's API; see docs/backendai.md.\n", content_type="text/plain; charset=utf-8")
    return flask.jsonify({"version": API_VERSION, "manager": "gateway"})
