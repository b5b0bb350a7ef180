"""The gateway's numbers for Prometheus: ``/metrics``."""

from collections.abc import Collection

import flask


def blueprint(taken: Collection[str]) -> flask.Blueprint:
    """The page, unless the service has ``taken`` its path for a rule of its own."""
    pages = flask.Blueprint("gateway_metrics", __name__)
    if "/metrics" not in taken:
        pages.add_url_rule("/metrics", view_func=_metrics, methods=["GET"])
    return pages


def _metrics() -> flask.Response:
    metrics = flask.current_app.extensions["gateway"].metrics
    text, media_type = metrics.exposition(flask.request.headers.get("Accept", ""))
    return flask.Response(text, content_type=media_type, headers={"Cache-Control": "no-store"})
