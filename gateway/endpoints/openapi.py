"""The service's description of itself: ``/openapi.json``, and ``/docs``, which shows it and needs nothing else."""

from collections.abc import Collection
from importlib.resources import files

import flask

from gateway.schema import openapi

POLICY = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
"""The page brings all it needs and loads nothing but the description (Content Security Policy Level 3)."""


def blueprint(taken: Collection[str]) -> flask.Blueprint:
    """The two pages, but for the paths that the service has ``taken`` for rules of its own."""
    pages = flask.Blueprint("gateway_openapi", __name__)
    for path, view in {"/openapi.json": _description, "/docs": _docs}.items():
        if path not in taken:
            pages.add_url_rule(path, view_func=view, methods=["GET"])
    return pages


def _description() -> flask.Response:
    state = flask.current_app.extensions["gateway"]
    return flask.jsonify(openapi(state.models, state.settings))


def _docs() -> flask.Response:
    page = files("gateway.endpoints").joinpath("pages", "docs.html").read_text("utf-8")
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return flask.Response(page, headers=headers, content_type="text/html; charset=utf-8")
