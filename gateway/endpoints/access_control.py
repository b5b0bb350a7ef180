"""Access control: before a body is read, callers are identified, and refused with 401, 403 or 429."""

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, ParamSpec

import flask

from gateway.access import listeners, shared_table
from gateway.access.authenticator import ASK, Authenticator
from gateway.access.callers import Caller, Role
from gateway.access.rate_limits import CallerLimits
from gateway.config import Settings
from gateway.endpoints.current import current_service
from gateway.endpoints.problems import DOOR, problem_response
from gateway.endpoints.security_headers import Origins, secure
from gateway.errors import Forbidden, GatewayError, Unauthenticated

logger = logging.getLogger("gateway")

OPEN = frozenset({"/ping", "/healthcheck", "/livez", "/readyz", "/startupz"})
"""Rules that answer anyone: a probe has no key."""
EXPOSED = {"/docs": "expose_docs", "/openapi.json": "expose_docs", "/metrics": "expose_metrics"}
"""Rules that are shown as a setting says."""
EXPOSURES = ("anyone", "authenticated", "off")
CALLER = "gateway.caller"
"""Where the WSGI environment holds the Caller; absent for one without a name."""

P = ParamSpec("P")


def guard(app: flask.Flask, settings: Settings) -> None:
    """Ask each request of ``app`` who sends it, before any other hook. Call it first: hooks run in their order.

    Raises ValueError for settings that do not go together.
    """
    control = app.extensions["gateway.access"] = AccessControl(settings)
    app.before_request(control.enter)
    app.after_request(control.leave)
    app.teardown_request(control.close)


def caller() -> Caller | None:
    """Return the caller of this request; None for an anonymous one."""
    found: Caller | None = flask.request.environ.get(CALLER)
    return found


def caller_name() -> str:
    """Return the name of who sent this request, "" for one without a name."""
    sender = caller()
    return sender.name if sender else ""


def require(role: Role, *, route: str = "") -> None:
    """Go on only for a caller with the role who may use the model on ``route``, where one is named.

    Without authentication everybody has every role but ``admin``, which then needs a bind that this machine alone
    reaches. Raises Unauthenticated or Forbidden.
    """
    control: AccessControl = flask.current_app.extensions["gateway.access"]
    sender = caller()
    if not control.authenticator.on:
        if role == "admin" and not listeners.is_private():
            raise Forbidden("This needs authentication, or a gateway that listens on loopback only.")
    elif sender is None:
        raise Unauthenticated(ASK, private="no proof")
    elif not sender.may(role):
        raise Forbidden(f"This needs the role {role}.", private=f"caller {sender.name}")
    elif route and not sender.may_use(route):
        raise Forbidden("The caller may not use this route.", private=f"caller {sender.name}")


def requires(role: Role) -> Callable[[Callable[P, flask.Response]], Callable[P, flask.Response]]:
    """Decorate a view so that it answers a caller without the role with a problem, and never runs."""

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
    """Return True if this caller may see why a probe fails: an identified one, or any on this machine alone."""
    control: AccessControl = flask.current_app.extensions["gateway.access"]
    return caller() is not None or (not control.authenticator.on and listeners.is_private())


class AccessControl:
    """The access control of one application."""

    def __init__(self, settings: Settings) -> None:
        self.authenticator = Authenticator(settings)
        self._origins = Origins(settings.cors_origins)
        self._settings = settings
        self._exposed = {rule: getattr(settings, name) for rule, name in EXPOSED.items()}
        if unknown := set(self._exposed.values()) - set(EXPOSURES):
            raise ValueError(f"expose_docs and expose_metrics should be anyone, authenticated or off, not {unknown}.")
        if (settings.caller_rate or settings.caller_concurrency) and not self.authenticator.on:
            raise ValueError("caller_rate and caller_concurrency need authentication: callers without names are one.")

    def open(self) -> None:
        """Look at what can be seen before the first request. Raises ValueError where the callers cannot be read."""
        self.authenticator.check()
        self._limits = CallerLimits(self._settings, shared_table.table())
        if (
            listeners.addresses()
            and not listeners.is_private()
            and not self.authenticator.on
            and shared_table.table().first()
        ):
            logger.warning(
                "This server listens beyond this machine without authentication. Set GATEWAY_API_KEYS_FILE or "
                "GATEWAY_JWT_JWKS, or listen on 127.0.0.1 behind a proxy that asks."
            )

    def enter(self) -> flask.Response | None:
        """Flask's hook before each request: None lets it pass."""
        if (answer := self._origins.preflight()) is not None:
            return answer
        rule = flask.request.url_rule.rule if flask.request.url_rule else ""
        service = current_service()
        try:
            self._let_in(rule, is_model=rule in service.models)
        except GatewayError as error:  # answered here: a service's own error handler is not asked
            service.metrics.turned_away(rule, error.status, error.code, DOOR)
            return problem_response(error)
        return None

    def _let_in(self, rule: str, *, is_model: bool) -> None:
        exposure = self._exposed.get(rule, "authenticated")
        if exposure == "off":
            flask.abort(404)
        if rule in OPEN or exposure == "anyone":
            with contextlib.suppress(GatewayError):
                self._identify()
        elif self.authenticator.on:
            sender = self._identify()
            if is_model:
                require("infer", route=rule)
            flask.g.gateway_leave = self._limits.enter(sender.name)

    def _identify(self) -> Caller:
        environ = flask.request.environ
        environ[CALLER] = identified = self.authenticator.caller(environ)
        return identified

    def leave(self, response: flask.Response) -> flask.Response:
        """Flask's hook after each request: the caller's place is given back with the last of the answer.

        Not after it: a caller that asks again as soon as it has all of one answer would still be counted for that one.
        """
        secure(response)
        self._origins.add(response)
        if (leave := flask.g.pop("gateway_leave", None)) is not None:
            response.call_on_close(leave)
            _before_the_last(response, leave)
        return response

    def close(self, _error: BaseException | None) -> None:
        """Flask's hook at the end, for a request that no answer came of."""
        if (leave := flask.g.pop("gateway_leave", None)) is not None:
            leave()


def _before_the_last(response: flask.Response, call: Callable[[], None]) -> None:
    """Call it before the last bytes are handed to the server; of a stream without a length, before its end is."""
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
