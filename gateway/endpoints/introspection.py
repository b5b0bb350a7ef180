"""``/openapi.json``, ``/docs``, which renders it, ``/metrics``, and ``/`` for a browser."""

from collections.abc import Collection
from html import escape
from importlib.resources import files
from string import Template

import flask
from werkzeug.exceptions import MethodNotAllowed

from gateway import __version__
from gateway.contract.model import Model
from gateway.endpoints.current import current_service
from gateway.protocol.openapi import openapi

POLICY = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
"""The page has its scripts inline and loads only the description (Content Security Policy Level 3)."""
STILL = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For a page without scripts."""
STYLE = "/* shared.css */\n"
"""The place of the rules that all pages have."""
PAGE = '<a href="ui/">Open a study, run models and look at what they find</a>, '
"""The link to the page, where it is served."""
OPERATORS = ', <a href="admin/studies">studies on their way</a>'
"""The link to the pages of ``admin_pages``, where there are rules."""
INDEX = "gateway_openapi._index"
"""The endpoint of ``/``."""


def blueprint(own_paths: Collection[str]) -> flask.Blueprint:
    """Return the pages, except on ``own_paths``, which have rules of the service."""
    pages = flask.Blueprint("gateway_openapi", __name__)
    for path, view in {"/openapi.json": _description, "/docs": _docs, "/metrics": _metrics}.items():
        if path not in own_paths:
            pages.add_url_rule(path, view_func=view, methods=["GET"])
    if "/" not in own_paths:  # POST too: without a model there, a client is told that there is none, and not of GET
        pages.add_url_rule("/", view_func=_index, methods=["GET", "POST"])
    return pages


def _description() -> flask.Response:
    service = current_service()
    return flask.jsonify(openapi(service.models, service.settings))


def _docs() -> flask.Response:
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return flask.Response(_page("docs"), headers=headers, content_type="text/html; charset=utf-8")


def wants_page() -> bool:
    """Return True for a request of a browser, which prefers HTML (RFC 9110 12.5.1)."""
    accepted = flask.request.accept_mimetypes
    return accepted["text/html"] > accepted["application/json"]


def asking_for_key(refusal: flask.Response) -> flask.Response:
    """Return a refusal as the page of ``/docs``, which asks for a key; status and challenge stay."""
    refusal.set_data(_page("docs"))
    refusal.content_type = "text/html; charset=utf-8"
    refusal.headers["Content-Security-Policy"] = POLICY
    refusal.vary.add("Accept")
    return refusal


def _index() -> flask.Response:
    """Describe the gateway to a browser; to any other client ``/`` is a model's, or nothing."""
    service = current_service()
    if flask.request.method == "POST" or not wants_page():
        if "/" in service.models:
            raise MethodNotAllowed(valid_methods=["OPTIONS", "POST"])
        flask.abort(404)
    report = service.report()
    states = {name: health.state for name, health in report.models.items()}
    rows = "".join(_row(name, model, states.get(name, "")) for name, model in service.models.items())
    present = flask.current_app.blueprints
    viewer = PAGE if "gateway_ui" in present else ""
    operators = OPERATORS if "gateway_admin" in present else ""
    words = {"version": __version__, "state": escape(report.word), "rows": rows}
    page = Template(_page("index")).substitute(words, viewer=viewer, operators=operators)
    headers = {"Content-Security-Policy": STILL, "Vary": "Accept"}
    return flask.Response(page, headers=headers, content_type="text/html; charset=utf-8")


def _row(name: str, model: Model, state: str) -> str:
    summary = model.describe().text.partition("\n")[0]
    return f"<tr><td><code>POST {escape(name)}</code></td><td>{escape(summary)}</td><td>{escape(state)}</td></tr>"


def _page(name: str) -> str:
    pages = files("gateway.endpoints").joinpath("pages")
    style = pages.joinpath("shared.css").read_text("utf-8")
    return pages.joinpath(f"{name}.html").read_text("utf-8").replace(STYLE, style)


def _metrics() -> flask.Response:
    metrics = current_service().metrics
    text, media_type = metrics.exposition(flask.request.headers.get("Accept", ""))
    return flask.Response(text, content_type=media_type, headers={"Cache-Control": "no-store"})
