"""Logging in to the page and out again: a key or token for a cookie (docs/ui.md)."""

import flask

from gateway.access.browser_logins import COOKIE
from gateway.endpoints.access_control import authenticator
from gateway.endpoints.current import current_service
from gateway.endpoints.foreign_pages import require_own_page
from gateway.endpoints.guarded_views import Rule
from gateway.errors import Forbidden, ParameterRefused
from gateway.intake.body import read_json
from gateway.protocol.request import parse_json


def _log_in() -> flask.Response:
    environ = flask.request.environ
    require_own_page(environ)  # another site's page must not log somebody in, as whom it likes
    if not authenticator().on:
        raise Forbidden("This gateway needs no key.")
    words = parse_json(read_json(environ, current_service().settings), None)
    key = words.get("key")
    if not isinstance(key, str) or not key.strip():
        raise ParameterRefused([("/key", "key should be an API key or a token.")])
    login = authenticator().log_in(key.strip())
    return _with_cookie(login.cookie, login.seconds)


def _log_out() -> flask.Response:
    require_own_page(flask.request.environ)
    return _with_cookie("", 0)


def _with_cookie(cookie: str, seconds: int) -> flask.Response:
    response = flask.Response(status=204)
    secure = flask.request.is_secure
    response.set_cookie(COOKIE, cookie, max_age=seconds, path="/", httponly=True, samesite="Strict", secure=secure)
    return response


RULES: tuple[Rule, ...] = (("POST", "/login", _log_in), ("POST", "/logout", _log_out))
