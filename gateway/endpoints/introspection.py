"""``/openapi.json``, ``/docs``, which renders it, and ``/metrics``."""

from collections.abc import Collection
from importlib.resources import files

import flask

from gateway.endpoints.current import current_service
from gateway.protocol.openapi import openapi

POLICY = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
"""The page has its scripts inline and loads only the description (Content Security Policy Level 3)."""


def blueprint(own_paths: Collection[str]) -> flask.Blueprint:
    """Return the three pages, except on ``own_paths``, which have rules of the service."""
    pages = flask.Blueprint("gateway_openapi", __name__)
    for path, view in {"/openapi.json": _description, "/docs": _docs, "/metrics": _metrics}.items():
        if path not in own_paths:
            pages.add_url_rule(path, view_func=view, methods=["GET"])
    return pages


def _description() -> flask.Response:
    service = current_service()
    return flask.jsonify(openapi(service.models, service.settings))


def _docs() -> flask.Response:
    page = files("gateway.endpoints").joinpath("pages", "docs.html").read_text("utf-8")
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return flask.Response(page, headers=headers, content_type="text/html; charset=utf-8")


def _metrics() -> flask.Response:
    metrics = current_service().metrics
    text, media_type = metrics.exposition(flask.request.headers.get("Accept", ""))
    return flask.Response(text, content_type=media_type, headers={"Cache-Control": "no-store"})
