"""Dapr's service invocation below ``/v1.0``: its clients call a route without a sidecar (docs/dapr.md).

An invocation is the request that it names: before Flask looks for its route, the path is that of the route itself, so
that method, query, body, access control and answer are those of the route.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import flask

from gateway.contract.requests import JSON
from gateway.endpoints.current import current_service
from gateway.endpoints.problems import DOOR_KEY, add_members, sentence_of

PREFIX = "/v1.0"
DOOR = "dapr"
"""The name of this door in metrics, audit and logs."""
URN = "urn:gateway:problem:"

WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]


def add_dapr(app: flask.Flask, app_id: str, taken: Collection[str]) -> None:
    """Add the probe, and take invocations of ``app_id``. Raises ValueError for an id that no path can have."""
    if not is_name(app_id):
        raise ValueError("dapr_app_id (GATEWAY_DAPR_APP_ID) should be a name such as lungs, without a slash.")
    pages = flask.Blueprint("gateway_dapr", __name__, url_prefix=PREFIX)
    for path in ("/healthz", "/healthz/outbound"):
        if f"{PREFIX}{path}" not in taken:
            pages.add_url_rule(path, path, _healthz, methods=["GET"])
    app.register_blueprint(pages)
    app.after_request(_name_fault)
    app.wsgi_app = Invocations(app.wsgi_app, app_id)  # type: ignore[method-assign]  # as Flask's manual has it


def is_name(text: str) -> bool:
    """Return True for a segment of a path that means itself."""
    return text not in ("", ".", "..") and text.isprintable() and not any(mark in text for mark in "/\\;")


class Invocations:
    """WSGI middleware: an invocation of an application becomes the request for the route that it names.

    What is not an invocation passes. One of another application, or of a path that some server would read otherwise
    (``..``, ``//``, a backslash, an invocation in an invocation), keeps its path, of which there is no route.
    """

    def __init__(self, application: WSGI, app_id: str) -> None:
        self._application = application
        self._start = f"{PREFIX}/invoke/{app_id}/method"

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """See PEP 3333; ``SCRIPT_NAME`` has what the path loses."""
        path = str(environ.get("PATH_INFO", ""))
        if path.startswith(f"{self._start}/") and self._is_plain(route := path.removeprefix(self._start)):
            script = environ.get("SCRIPT_NAME", "") + self._start
            environ.update({"PATH_INFO": route, "SCRIPT_NAME": script, DOOR_KEY: DOOR})
        return self._application(environ, start_response)

    @staticmethod
    def _is_plain(route: str) -> bool:
        names = route[1:].split("/")
        return f"/{names[0]}" != PREFIX and (route == "/" or all(map(is_name, names)))


def _healthz() -> flask.Response:
    """Answer as a sidecar: 204 once calls are served, else 500."""
    response = flask.Response(status=204 if current_service().report().ready else 500)
    response.headers["Cache-Control"] = "no-store"
    return response


def _name_fault(response: flask.Response) -> flask.Response:
    """Give a problem the members that Dapr's clients read, ``errorCode`` and ``message``."""
    if flask.request.environ.get(DOOR_KEY) == DOOR:
        add_members(response, lambda problem: {"errorCode": _code(problem), "message": sentence_of(problem)})
    return response


def _code(problem: JSON) -> str:
    kind = str(problem["type"])
    return kind.removeprefix(URN) if kind.startswith(URN) else f"http-{problem['status']}"
