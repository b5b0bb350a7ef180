"""``Gateway``: the Flask application that a service builds, registers its models on, and hands to gunicorn."""

import atexit
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import flask

from gateway.access import listeners
from gateway.config import Settings
from gateway.contract.execution import Execution
from gateway.contract.model import Model, adapt
from gateway.contract.requests import Handler
from gateway.dicom.decoding import pool as decoding
from gateway.endpoints import access_control, functions, health, inference, introspection, problems
from gateway.endpoints.complete_answers import mark_complete
from gateway.executors.scoreboard import Slot
from gateway.observe.logs import exception_frames, quiet_libraries
from gateway.protocol.serializer import InferenceSerializer
from gateway.service.service import Service
from gateway.spool.process_memory import spare_collections

if TYPE_CHECKING:
    from gateway.binding.requirements import Requires
    from gateway.delivery.deliveries import Deliveries
    from gateway.delivery.webhooks import Webhooks
    from gateway.routing.routing_engine import RoutingEngine
    from gateway.runs.runs import Runs
    from gateway.sessions.click_sessions import ClickSessions
    from gateway.sessions.image_sessions import ImageSessions
    from gateway.sessions.session_leases import SessionLeases
    from gateway.studies.store import Store

logger = logging.getLogger("gateway")

Target = TypeVar("Target", bound=Callable[..., Any])


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
        self.service = Service(self.settings, self.serializer)
        """The models, executors and store that the doors of this application share."""
        self.runs: Runs | None = None
        """Durable inferences, where the settings name a folder for the study store; known once the gateway is open."""
        self.webhooks: Webhooks | None = None
        """Reports the ends of runs; known where there are runs."""
        self.deliveries: Deliveries | None = None
        """Takes stored results to peers, where there are a store and peers; known once the gateway is open."""
        self.routing: RoutingEngine | None = None
        """Sends complete studies to models, where the settings name a file of rules; known once the gateway is open."""
        self.sessions: ClickSessions | None = None
        """Click sessions, where a model is interactive; known once the gateway is open."""
        self.leases: SessionLeases | None = None
        """Leases of nnInteractive's clients, where a setting names their model; known once the gateway is open."""
        self.images: ImageSessions | None = None
        """Images that clients of MONAI Label have sent, where the settings say so; known once the gateway is open."""
        self._wrappers: list[Model] = []
        self._opening = threading.Lock()
        self._opened = False
        self._fault: Exception | None = None
        self.extensions["gateway"] = self.service
        self.register_error_handler(Exception, problems.handle_exception)
        self.after_request(mark_complete)  # the last of its kind: it sees the response as it leaves
        access_control.guard(self, self.settings)  # before the service's own hooks
        quiet_libraries(self.settings.log_exception_text)

    def add_inference_route(self, route: str, model_fn: Handler, *, execution: Execution | None = None) -> None:
        """Answer ``POST route`` with ``model_fn(json_input, dicom_instances, input_digest) -> (dict, buffers)``.

        ``execution`` says how it is run; with a ``Batch`` it receives three lists and returns a list of pairs.
        Raises ValueError when the route is taken.
        """
        self.add_model(route, adapt(route, model_fn, execution))

    def model(
        self,
        route: str,
        *,
        version: str = "",
        weights: Iterable[str | Path] | Mapping[str | Path, str] = (),
        deterministic: bool = False,
        forbid_unknown: bool = False,
        requires: "Requires | None" = None,
        research: bool = True,
        config: Mapping[str, Any] | None = None,
        label_maps: bool = False,
        execution: Execution | None = None,
    ) -> Callable[[Target], Target]:
        """Answer ``POST route`` with a typed function, or with a class that has ``predict``; both stay as they are.

        The signature declares the inputs, the parameters and the findings; see ``typed_model.Options`` for the rest.
        Weights are loaded and a class is set up before ``/healthcheck`` answers READY. Raises TypeError for a signature
        that declares no model, ValueError when the route is taken.
        """
        if callable(route):  # @app.model without brackets
            name = getattr(route, "__name__", "the model")
            raise TypeError(f'{name}: the decorator takes the route of the model: @app.model("/").')
        from gateway.binding.typed_model import (  # pydantic and pydicom, which a plain service spares
            Options,
            TypedModel,
        )

        options = Options(
            version,
            weights,
            deterministic,
            forbid_unknown,
            requires,
            research,
            config,
            label_maps,
            execution or Execution(),
        )

        def register(target: Target) -> Target:
            self.add_model(route, TypedModel(route, target, options))
            return target

        return register

    def add_model(self, route: str, model: Model) -> None:
        """Answer ``POST route`` with a model made elsewhere. Raises ValueError when the route is taken."""
        self._add_model(route, model)

    def add_wrapper_route(self, route: str, path: str | Path, *, stream: bool | None = None) -> None:
        """Answer ``POST route`` with the AIGES wrapper in the file ``path``, and start it.

        ``stream`` chooses between its sessions and its ``wrapperOnceExec``; unset, a wrapper that defines
        ``wrapperCreate`` and ``wrapperWrite`` streams. A wrapper that does not start answers with a problem, and
        ``/healthcheck`` says FAILED. Raises what importing the file raises, NotImplementedError for a missing verb,
        ValueError for a route in use.
        """
        from gateway.adapters import aiges
        from gateway.endpoints import wrappers

        self._refuse_taken(route)
        model = aiges.load(route, Path(path), stream=stream)
        self._add_model(route, model, wrappers.view(model, self.service))
        self._wrappers.append(model)
        model.setup()  # here, not beside requests: it changes the working folder meanwhile
        atexit.register(model.close)

    def add_wasm_route(
        self,
        route: str,
        path: str | Path,
        *,
        media_type: str = "",
        finds: type | None = None,
        clock: bool = False,
        random: bool = False,
        execution: Execution | None = None,
    ) -> None:
        """Answer ``POST route`` with the WASM function in the file ``path``: one file in, one file out.

        ``media_type`` is that of its output; "" takes it from the bytes. With ``finds``, such as Mask, it gets each
        image of a study as PGM, and its output is a mask on that image. ``clock`` grants it the time, ``random``
        random numbers; it has nothing else but its input. It is compiled, and its imports are checked, before
        ``/healthcheck`` answers READY. Raises InvalidFunction for a file that is no module or is too large, OSError,
        ImportError without wasmtime, TypeError for another finding, ValueError for a route in use.
        """
        from gateway.adapters.wasm.wasi import Grants
        from gateway.adapters.wasm.wasm_model import FunctionFile, WasmModel

        self._refuse_taken(route)
        file = FunctionFile(Path(path), self.settings, Grants(clock, random))
        if finds is not None:
            from gateway.adapters.wasm.wasm_image_model import WasmImageModel  # pydicom, which files are spared

            self._add_model(route, WasmImageModel(route, file, finds, execution))
        else:
            self._add_model(route, WasmModel(route, file, media_type, execution))

    def _refuse_taken(self, route: str) -> None:
        if route in self.service.models:
            raise ValueError(f"The route {route} already maps to a model; give this one a route of its own.")

    def _add_model(self, route: str, model: Model, view: Callable[[], flask.Response] | None = None) -> None:
        self._refuse_taken(route)
        usual = functions if model.takes_any_file else inference
        self.add_url_rule(route, route, view or usual.view(model, self.service), methods=["POST"])
        self.service.models[route] = model
        logger.info("added inference route %s", route)

    def add_healthcheck_route(self, handler_fn: Callable[[], Any]) -> None:
        """Answer ``GET`` and ``POST /healthcheck`` with ``handler_fn()`` instead of the gateway's own health."""
        self.add_url_rule("/healthcheck", "healthcheck", handler_fn, methods=["GET", "POST"])

    def open(self, address: str = "", slot: Slot | None = None) -> None:
        """Add the gateway's own routes and begin to set up the models while requests are served.

        It runs last, at the first request, so that a service's rule for the same path wins. A worker of a server passes
        its ``slot`` among the workers, and the ``address`` of the model processes where there are any.
        Raises ValueError for settings and files of the operator that cannot work, again at each further request.
        """
        with self._opening:
            if self._opened:
                return
            if self._fault is not None:
                raise self._fault.with_traceback(None)  # which would grow with each request
            try:
                self._open(address, slot)
            except Exception as error:
                self._fault = error
                raise

    def _open(self, address: str, slot: Slot | None) -> None:
        self.extensions["gateway.access"].open()
        self._add_doors(linked=slot is not None)
        decoding.configure(self.settings)
        self.service.open(address, slot)
        self._add_deliveries()
        if self.settings.routing is not None:
            self._add_routing()
        if slot is not None:
            self._start()
        self._opened = True
        atexit.register(self.close)
        threading.Thread(target=self._set_up, name="gateway-setup", daemon=True).start()

    def _add_doors(self, *, linked: bool) -> None:
        """Add the gateway's own routes, but for those that the service has."""
        taken = {rule.rule for rule in self.url_map.iter_rules() if rule.rule != "/" or "GET" in (rule.methods or ())}
        if self.settings.expose_docs == "off":
            taken.add("/")
        for module in (health, introspection):
            self.register_blueprint(module.blueprint(taken))
        if self.settings.store_folder is not None:
            from gateway.endpoints import studies  # SQLAlchemy, which a gateway without a store spares

            studies.add_store(self, taken)
            self._share_rates()
            self._add_runs(taken)
        if self.settings.routing is not None and self.settings.store_folder is not None:
            self._add_admin_pages(taken)
        if self.settings.oip:
            from gateway.endpoints import oip

            oip.add_oip(self, taken)
        if self.settings.dapr_app_id:
            from gateway.endpoints import dapr

            dapr.add_dapr(self, self.settings.dapr_app_id, taken)
        if self.settings.dicomweb:
            from gateway.endpoints import dicomweb

            dicomweb.add_dicomweb(self, taken)
        if self.settings.sessions and any(model.interactive for model in self.service.models.values()):
            self._add_sessions(taken, linked=linked)
        if access_control.page_is_on(self.settings):
            from gateway.endpoints import ui

            ui.add_ui(self, taken)
        if self.settings.monai:
            self._add_monailabel(taken, linked=linked)
        if self.settings.nninteractive:
            from gateway.endpoints import nninteractive

            self.leases = nninteractive.add_nninteractive(self, taken, linked=linked)
        if self.settings.backendai_keys is not None:
            self._add_backendai(taken)

    def _start(self) -> None:
        """Begin what is queued, in a worker of a server; another process begins once it has queued something itself."""
        if self.runs is not None:
            self.runs.open()
        if self.deliveries is not None:
            self.deliveries.start()
        if self.routing is not None:
            self.routing.start()

    def _add_runs(self, taken: Collection[str]) -> None:
        from gateway.endpoints.runs import add_runs
        from gateway.runs.runs import Runs

        assert self.service.store is not None
        self.runs = self.extensions["gateway.runs"] = Runs(self.service, self.service.store.store)
        add_runs(self, taken)
        self._add_webhooks(self.runs, self.service.store.store)

    def _add_admin_pages(self, taken: Collection[str]) -> None:
        from gateway.endpoints.admin_pages import add_admin_pages
        from gateway.studies.study_history import numbers_of

        assert self.service.store is not None
        add_admin_pages(self, taken)
        self.service.metrics.routing = partial(numbers_of, self.service.store.store)

    def _add_sessions(self, taken: Collection[str], *, linked: bool) -> None:
        from gateway.endpoints.sessions import add_sessions
        from gateway.sessions.click_sessions import ClickSessions

        self.sessions = self.extensions["gateway.sessions"] = ClickSessions(self.service, linked=linked)
        add_sessions(self, taken)

    def _add_monailabel(self, taken: Collection[str], *, linked: bool) -> None:
        from gateway.endpoints.monailabel import add_monailabel
        from gateway.sessions.image_sessions import ImageSessions

        self.images = ImageSessions(self.settings, linked=linked)
        add_monailabel(self, self.images, taken)

    def _add_backendai(self, taken: Collection[str]) -> None:
        if self.settings.store_folder is None:
            raise ValueError(
                "backendai_keys (GATEWAY_BACKENDAI_KEYS) needs runs: set store_folder (GATEWAY_STORE_FOLDER)."
            )
        from gateway.endpoints import backendai

        backendai.add_backendai(self, taken)

    def _add_routing(self) -> None:
        from gateway.routing.routing_engine import open_engine
        from gateway.routing.rules_file import NEEDS_STORE

        if self.runs is None:
            raise ValueError(NEEDS_STORE)
        self.routing = self.extensions["gateway.routing"] = open_engine(self.service, self.runs, self._deliver)

    def _deliver(self) -> None:
        """Have the deliveries that are queued begin; without peers there are none."""
        if self.deliveries is not None:
            self.deliveries.wake()

    def _share_rates(self) -> None:
        """Share the rates of callers with the other hosts, where there are some on a database of all."""
        from gateway.studies.caller_rates import CallerRates

        assert self.service.store is not None
        index = self.service.store.store.index
        if self.settings.caller_hosts > 1 and self.settings.caller_rate and not index.is_sqlite:
            self.extensions["gateway.access"].share_rates(CallerRates(index, self.settings).take)

    def _add_webhooks(self, runs: "Runs", store: "Store") -> None:
        from gateway.delivery.webhooks import Webhooks

        metrics = self.service.metrics
        self.webhooks = self.extensions["gateway.webhooks"] = Webhooks(self.settings, store.index, metrics.webhook)
        if self.webhooks.on:
            metrics.webhook_age = self.webhooks.age
            runs.listen(self.webhooks.signalled)
            self.webhooks.start()

    def _add_deliveries(self) -> None:
        service = self.service
        if service.store is None or service.peers is None:
            return
        from gateway.delivery.deliveries import Deliveries

        self.deliveries = Deliveries(self.settings, service.store.store, service.peers, service.delivered)
        service.metrics.deliveries = self.deliveries.numbers

    def close(self) -> None:
        """Close the models in reverse order of registration. They are set up again at their next use."""
        if self.routing is not None:
            self.routing.stop()
        for courier in (self.webhooks, self.deliveries):
            if courier is not None:
                courier.close()
        for held in (self.leases, self.sessions, self.images):
            if held is not None:
                held.close()
        if self.runs is not None:
            self.runs.close()
        self.service.close()

    def _set_up(self) -> None:
        for model in self.service.to_set_up():
            try:
                self.service.executors.inline.set_up(model, warm=self.service.in_server)
            except Exception as error:  # the others may still serve; health tells of this one
                frames = exception_frames(error, with_text=True)  # no request, and so no patient, is in it
                logger.error("model setup failed on %s\n%s", model.name, frames)
                if model not in self._wrappers:
                    self.service.die(f"The model on {model.name} could not be set up: {type(error).__name__}: {error}")
            self.service.publish()
        if self.service.in_server:
            spare_collections()
        self.service.publish()

    def run(
        self,
        host: str | None = None,
        port: int | None = None,
        debug: bool | None = None,
        load_dotenv: bool = True,
        **options: Any,
    ) -> None:
        """Run Flask's development server; off loopback without debugger and reloader, which run code for any caller."""
        bound = host or str(self.config["SERVER_NAME"] or "").partition(":")[0] or "localhost"
        listeners.announce([(bound, port or 0)])
        if not listeners.is_loopback(bound):
            if debug or self.debug or options.get("use_debugger") or options.get("use_reloader"):
                logger.warning("debugger and reloader disabled: %s is not a loopback address", bound)
            debug = False  # also where Flask would yet read FLASK_DEBUG from a .env file
            options |= {"use_debugger": False, "use_reloader": False}
        super().run(host, port, debug, load_dotenv, **options)

    def log_exception(self, exc_info: Any) -> None:
        """Log an unhandled exception (a hook of Flask): frames, and text only where the settings allow it."""
        problems.log_exception(exc_info[1])

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """The WSGI application (PEP 3333)."""
        if not self._opened:
            self.open()
        return super().__call__(environ, start_response)
