"""``Gateway``: the Flask application that a service builds, registers its models on, and hands to gunicorn."""

import ipaddress
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import flask

from gateway.admission import Admission
from gateway.config import Settings
from gateway.contract import Handler, Model, adapt
from gateway.endpoints import health, inference, problems
from gateway.observe.logs import quiet_pydicom
from gateway.protocol.serializer import InferenceSerializer

logger = logging.getLogger("gateway")


@dataclass
class State:
    """What the views of one application share; found as ``app.extensions["gateway"]``."""

    settings: Settings
    admission: Admission
    models: dict[str, Model] = field(default_factory=dict)

    def health(self) -> str:
        """READY, or another word while models are not."""
        return health.READY


class Gateway(flask.Flask):
    """A Flask application with one inference route for each model function.

    ``settings`` default to the ``GATEWAY_*`` variables; ``serializer`` turns a model's answer into parts. All other
    arguments are Flask's.
    """

    def __init__(
        self,
        import_name: str,
        *args: Any,
        settings: Settings | None = None,
        serializer: InferenceSerializer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(import_name, *args, **kwargs)
        self.settings = settings or Settings.from_environment()
        self.serializer = serializer or InferenceSerializer()
        self._state = State(self.settings, Admission(self.settings))
        self._opening = threading.Lock()
        self._opened = False
        self.extensions["gateway"] = self._state
        self.register_error_handler(Exception, problems.handle_exception)
        self.after_request(_name_request)
        quiet_pydicom(self.settings.log_exception_text)

    def add_inference_route(self, route: str, model_fn: Handler) -> None:
        """Answer ``POST route`` with ``model_fn(json_input, dicom_instances, input_digest) -> (dict, buffers)``.

        Raises ValueError when the route is taken.
        """
        if route in self._state.models:
            raise ValueError(f"The route {route} already maps to a model; give this one a route of its own.")
        model = adapt(route, model_fn)
        view = inference.view(model, self.settings, self.serializer, self._state.admission)
        self.add_url_rule(route, route, view, methods=["POST"])
        self._state.models[route] = model
        logger.info("added inference route %s", route)

    def add_healthcheck_route(self, handler_fn: Callable[[], Any]) -> None:
        """Answer ``GET`` and ``POST /healthcheck`` with ``handler_fn()``, instead of the gateway's own answer."""
        self.add_url_rule("/healthcheck", "healthcheck", handler_fn, methods=["GET", "POST"])

    def open(self) -> None:
        """Add the gateway's own routes; last, at the first request, so that a service's rule for the same path wins."""
        with self._opening:
            if not self._opened:
                taken = {rule.rule for rule in self.url_map.iter_rules()}
                self.register_blueprint(health.blueprint(taken))
                self._opened = True

    def run(
        self,
        host: str | None = None,
        port: int | None = None,
        debug: bool | None = None,
        load_dotenv: bool = True,
        **options: Any,
    ) -> None:
        """Flask's development server; off loopback without its debugger and reloader, which run code for any caller."""
        bound = host or str(self.config["SERVER_NAME"] or "").partition(":")[0] or "localhost"
        if not _is_loopback(bound):
            if debug or self.debug or options.get("use_debugger") or options.get("use_reloader"):
                logger.warning("debugger and reloader are off: %s is not a loopback address", bound)
            debug = False  # also where Flask would yet read FLASK_DEBUG from a .env file
            options |= {"use_debugger": False, "use_reloader": False}
        super().run(host, port, debug, load_dotenv, **options)

    def log_exception(self, exc_info: Any) -> None:
        """Flask's hook for what no handler took: frames, and text only where the settings allow it."""
        problems.log_exception(exc_info[1])

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """The WSGI application (PEP 3333)."""
        if not self._opened:
            self.open()
        return super().__call__(environ, start_response)


def _name_request(response: flask.Response) -> flask.Response:
    response.headers["X-Request-ID"] = problems.request_id()
    return response


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who knows where it leads
        return False
