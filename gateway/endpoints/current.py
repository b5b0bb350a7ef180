"""The service of the current request."""

import flask

from gateway.service.service import Service


def current_service() -> Service:
    """Return the service of this application."""
    service: Service = flask.current_app.extensions["gateway"]
    return service
