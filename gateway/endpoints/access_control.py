"""Access control: before a body is read, callers are identified, and refused with 401, 403 or 429."""

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, ParamSpec

import flask

from gateway.access import listeners, shared_table
from gateway.access.authenticator import ADMIN_BELOW, ASK, BASIC, Authenticator
from gateway.access.browser_logins import BrowserLogins, cookie_of, secret_of
from gateway.access.callers import Caller, Role
from gateway.access.rate_limits import CallerLimits, TakeToken
from gateway.config import Settings, unknown_variables
from gateway.endpoints.current import current_service
from gateway.endpoints.foreign_pages import ForeignPages
from gateway.endpoints.introspection import INDEX, asking_for_key, wants_page
from gateway.endpoints.problems import DOOR, DOOR_KEY, description, problem_response
from gateway.endpoints.security_headers import Origins, secure
from gateway.errors import Forbidden, GatewayError, Unauthenticated

logger = logging.getLogger("gateway")

PROBES = frozenset({"/ping", "/healthcheck", "/livez", "/readyz", "/startupz"})
OPEN = PROBES | {"/backendai", "/v2/health/live", "/v2/health/ready", "/v1.0/healthz", "/v1.0/healthz/outbound"}
OPEN |= {"/monai/auth/", "/monai/auth/token"}
"""Rules without access control: a probe has no key, nor has a client that asks for the version of Backend.AI's API, or
logs in by MONAI Label's."""
PAGE = frozenset({"/ui", "/ui/", "/ui/<path:name>", "/ui/login", "/ui/logout"})
"""Rules that need no credential where callers have one: the page, which shows a form to log in and nothing else."""
EXPOSED = {"/docs": "expose_docs", "/openapi.json": "expose_docs", "/metrics": "expose_metrics"}
"""Rules whose access a setting determines."""
UI = ("loopback", "on", "off")
EXPOSURES = ("anyone", "authenticated", "off")
AUTHENTICATION = ("GATEWAY_API_KEYS_FILE", "GATEWAY_JWT_JWKS")
"""Variables that turn authentication on: one that is misspelt must not leave a server open."""
CALLER = "gateway.caller"
"""The key of the Caller in the WSGI environment; absent for an anonymous one."""

FORM = "multipart/form-data"
"""The media type of a form with files, which a browser sends to any origin."""
P = ParamSpec("P")


def guard(app: flask.Flask, settings: Settings) -> None:
    """Identify the caller of each request of ``app``. Call it first: hooks run in the order of registration.

    Raises ValueError for contradicting settings.
    """
    control = app.extensions["gateway.access"] = AccessControl(settings)
    app.before_request(control.enter)
    app.after_request(control.leave)
    app.teardown_request(control.close)


def page_is_on(settings: Settings) -> bool:
    """Return True where the page below ``/ui`` is served. Raises ValueError for an unknown setting."""
    if settings.ui not in UI:
        raise ValueError(f"ui (GATEWAY_UI) should be {', '.join(UI[:-1])} or {UI[-1]}.")
    return settings.ui == "on" or (settings.ui == "loopback" and listeners.is_private())


def authenticator() -> Authenticator:
    """Return what identifies the callers of this application."""
    control: AccessControl = flask.current_app.extensions["gateway.access"]
    return control.authenticator


def caller() -> Caller | None:
    """Return the caller of this request; None for an anonymous one."""
    identified: Caller | None = flask.request.environ.get(CALLER)
    return identified


def caller_name() -> str:
    """Return the caller's name, "" for an anonymous one."""
    sender = caller()
    return sender.name if sender else ""


def require(role: Role, *, route: str = "") -> None:
    """Require a caller with the role that may use the model on ``route``, if that is set.

    Without authentication every caller has every role but ``admin``, which then needs a server that only this machine
    reaches. Raises Unauthenticated or Forbidden.
    """
    control: AccessControl = flask.current_app.extensions["gateway.access"]
    sender = caller()
    if sender is None and not control.authenticator.on:
        if role == "admin" and not listeners.is_private():
            raise Forbidden("This needs authentication, or a gateway that listens on loopback only.")
    elif sender is None:
        raise Unauthenticated(ASK, private="no proof")
    elif not sender.may(role):
        raise Forbidden(f"This needs the role {role}.", private=f"caller {sender.name}")
    elif route and not sender.may_use(route):
        raise Forbidden("The caller may not use this route.", private=f"caller {sender.name}")


def refuse_foreign_form() -> None:
    """Refuse a form of another origin's page, which its browser sends without asking (Fetch 3.2.2).

    A browser adds client certificates, and the cookies of a proxy, to it. Raises Forbidden.
    """
    environ = flask.request.environ
    if environ.get("CONTENT_TYPE", "").strip().lower().startswith(FORM):
        control: AccessControl = flask.current_app.extensions["gateway.access"]
        control.check_origin(environ)


def requires(role: Role) -> Callable[[Callable[P, flask.Response]], Callable[P, flask.Response]]:
    """Decorate a view: a caller without the role gets a problem, and the view does not run."""

    def decorate(view: Callable[P, flask.Response]) -> Callable[P, flask.Response]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> flask.Response:
            try:
                require(role)
            except GatewayError as error:
                return problem_response(error)
            return view(*args, **kwargs)

        return guarded

    return decorate


def may_see_reasons() -> bool:
    """Return True for a caller that may see why a probe fails: identified, or on this machine only."""
    control: AccessControl = flask.current_app.extensions["gateway.access"]
    return caller() is not None or (not control.authenticator.on and listeners.is_private())


class AccessControl:
    """The access control of one application."""

    def __init__(self, settings: Settings) -> None:
        self.authenticator = Authenticator(settings)
        self._origins = Origins(settings.cors_origins)
        self._pages = ForeignPages(settings.allowed_hosts, self._origins)
        self._settings = settings
        self._exposed = {rule: getattr(settings, name) for rule, name in EXPOSED.items()}
        if unknown := set(self._exposed.values()) - set(EXPOSURES):
            raise ValueError(f"expose_docs and expose_metrics should be anyone, authenticated or off, not {unknown}.")
        if (settings.caller_rate or settings.caller_concurrency) and not self.authenticator.on:
            raise ValueError("caller_rate and caller_concurrency need authentication: anonymous callers count as one.")

    def check_origin(self, environ: dict[str, Any]) -> None:
        """Raise Forbidden for a page of another origin."""
        self._pages.check_origin(environ)

    def open(self) -> None:
        """Check the file of callers and the addresses before the first request. Raises ValueError."""
        self.authenticator.check()
        self._limits = CallerLimits(self._settings, shared_table.table())
        if page_is_on(self._settings):
            secret = secret_of(self._settings.ui_secret_file, shared_table.table().secret)
            self.authenticator.accept_logins(BrowserLogins(secret, self._settings.ui_login))
        if listeners.addresses() and not listeners.is_private() and not self.authenticator.on:
            self._check_exposure()

    def share_rates(self, take: TakeToken) -> None:
        """Take the tokens of callers' rates where all hosts take them."""
        self._limits.shared_bucket = take

    def _check_exposure(self) -> None:
        """Refuse, or warn once, where other machines reach a server that authenticates no caller. Raises ValueError."""
        for name, near in unknown_variables(os.environ).items():
            if near in AUTHENTICATION:
                raise ValueError(f"{name} is not a setting, and no caller would be authenticated; use {near}.")
        if listeners.refuses_anonymous() and not self._settings.allow_anonymous:
            raise ValueError(
                "This server listens beyond this machine without authentication. Set GATEWAY_API_KEYS_FILE or "
                "GATEWAY_JWT_JWKS, listen on 127.0.0.1, or admit everyone by --allow-anonymous "
                "(GATEWAY_ALLOW_ANONYMOUS=1)."
            )
        if shared_table.table().first():
            logger.warning(
                "This server listens beyond this machine without authentication. Set GATEWAY_API_KEYS_FILE or "
                "GATEWAY_JWT_JWKS, or listen on 127.0.0.1 behind a proxy that authenticates."
            )

    def enter(self) -> flask.Response | None:
        """Flask's hook before each request: None lets it pass."""
        environ, matched = flask.request.environ, flask.request.url_rule
        if (answer := self._origins.preflight(environ)) is not None:
            return answer
        rule = matched.rule if matched else ""
        if matched and matched.endpoint == INDEX:  # as exposed as what it links to; "/" may be a model's too
            rule = "/docs"
        try:
            self._admit(rule, environ)
        except GatewayError as error:  # answered here, and not by a service's own error handler
            current_service().metrics.turned_away(rule, error.status, error.code, environ.get(DOOR_KEY, DOOR))
            return self._asking(problem_response(error), rule)
        return None

    def _asking(self, refusal: flask.Response, rule: str) -> flask.Response:
        """Return a refusal that asks a browser for a key: ``/docs`` by its page, ``/admin`` by the browser's own."""
        if refusal.status_code == 401 and wants_page():
            if rule == "/docs":
                return asking_for_key(refusal)
            if rule.startswith(ADMIN_BELOW):
                refusal.headers.add("WWW-Authenticate", BASIC)
        return refusal

    def _admit(self, rule: str, environ: dict[str, Any]) -> None:
        exposure = self._exposed.get(rule, "authenticated")
        if exposure == "off":
            flask.abort(404)
        if rule in OPEN or exposure == "anyone" or (rule in PAGE and self.authenticator.on):
            with contextlib.suppress(GatewayError):
                self._identify(environ)
        elif self.authenticator.requires(environ):
            sender = self._identify(environ)
            if cookie_of(environ):
                self.check_origin(environ)
            if rule in current_service().models:
                require("infer", route=rule)
            flask.g.gateway_leave = self._limits.enter(sender.name)
        elif self._pages.on:
            self._pages.check(environ)

    def _identify(self, environ: dict[str, Any]) -> Caller:
        environ[CALLER] = identified = self.authenticator.caller(environ)
        return identified

    def leave(self, response: flask.Response) -> flask.Response:
        """Flask's hook after each request: add headers, and release the caller's place with the last bytes.

        Later would be too late: a caller that sends its next request at once would still be counted for this one.
        """
        secure(response, description())
        self._origins.add(response)
        if (leave := flask.g.pop("gateway_leave", None)) is not None:
            response.call_on_close(leave)
            _before_the_last(response, leave)
        return response

    def close(self, _error: BaseException | None) -> None:
        """Flask's hook at the end, for a request without a response."""
        if (leave := flask.g.pop("gateway_leave", None)) is not None:
            leave()


def _before_the_last(response: flask.Response, call: Callable[[], None]) -> None:
    """Run ``call`` before the server gets the last bytes; for a stream without a length, before its end."""
    length = response.headers.get("Content-Length", type=float)
    if response.direct_passthrough or (length is None and response.is_sequence):
        return
    response.call_on_close(getattr(response.response, "close", lambda: None))
    response.response = _watched(response.iter_encoded(), math.inf if length is None else length, call)


def _watched(pieces: Iterable[bytes], missing: float, call: Callable[[], None]) -> Iterator[Any]:
    for piece in pieces:
        missing -= memoryview(piece).nbytes
        if missing <= 0:
            call()
        yield piece
    call()
