"""Whether the gateway is up, and whether its models are ready: ``/ping`` and ``/healthcheck``."""

from collections.abc import Collection

import flask

PONG = "inference-service is up and accepting connections"
READY = "READY"


def blueprint(taken: Collection[str]) -> flask.Blueprint:
    """The probes, but for the paths that the service has ``taken`` for rules of its own."""
    probes = flask.Blueprint("gateway_health", __name__)
    for path, view in {"/ping": _ping, "/healthcheck": _healthcheck}.items():
        if path not in taken:
            probes.add_url_rule(path, view_func=view, methods=["GET", "POST"])
    return probes


def _ping() -> flask.Response:
    return flask.Response(PONG, content_type="text/plain; charset=utf-8")


def _healthcheck() -> flask.Response:
    return flask.Response(flask.current_app.extensions["gateway"].health(), content_type="text/plain; charset=utf-8")
