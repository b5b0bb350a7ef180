"""Requests that store instances, as arrivals that rules may take (docs/routing.md)."""

import flask

from gateway.endpoints.access_control import caller_name
from gateway.endpoints.store_views import store_context
from gateway.studies.arrival_rows import Sender, http_sender


def routed_sender() -> Sender | None:
    """Return the caller of this request as a sender; None where no studies are routed."""
    return None if store_context().store.settings.routing is None else http_sender(caller_name())


def arrived() -> None:
    """Have this process look at the rounds of studies, where studies are routed; returns at once."""
    routing = flask.current_app.extensions.get("gateway.routing")
    if routing is not None:
        routing.start()
        routing.wake()
