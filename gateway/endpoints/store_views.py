"""Helpers of the study store's routes: the store, admission, problems and pages of lists."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec

import flask
from werkzeug.exceptions import HTTPException

from gateway.endpoints.current import current_service
from gateway.endpoints.problems import log_exception, problem_response
from gateway.errors import GatewayError, ParameterRefused
from gateway.intake.admission import Ticket
from gateway.studies.instance_rows import MAX_PAGE
from gateway.studies.store_context import StoreContext

DEFAULT_PAGE = 100

P = ParamSpec("P")
View = Callable[P, flask.Response]
Rule = tuple[str, str, Callable[..., flask.Response]]
"""Method, path and view."""


def store_context() -> StoreContext:
    """Return the store of this application."""
    service = current_service()
    assert service.store is not None  # these routes are added with it
    return service.store


def answering(view: View[P]) -> View[P]:
    """A view whose refusals are problems, and never reach the service's own error handlers."""

    @wraps(view)
    def answered(*args: P.args, **kwargs: P.kwargs) -> flask.Response:
        try:
            return view(*args, **kwargs)
        except GatewayError as error:
            current_service().metrics.refused(flask.request.path, error.code)
            return problem_response(error)
        except HTTPException:  # Flask's own refusals
            raise
        except Exception as error:
            log_exception(error)
            return problem_response(GatewayError("The gateway's log has the reason under this request id."))

    return answered


@contextmanager
def admission_ticket() -> Iterator[Ticket]:
    """A place among the requests in work, for one that brings many bytes. Raises Unavailable."""
    ticket = current_service().admission.enter()
    try:
        yield ticket
    finally:
        ticket.leave()


def moment(seconds: float, to: str = "seconds") -> str:
    """Seconds since 1970 as RFC 3339 in UTC, to the precision of ``datetime.isoformat``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=to).replace("+00:00", "Z")


def time_of(name: str) -> float | None:
    """Return a time of the query in seconds since 1970, None without it. Raises ParameterRefused."""
    text = flask.request.args.get(name)
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text.replace(" ", "+"))  # a plus that nobody has escaped
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ParameterRefused([(f"/{name}", f"{name} should be a time with its zone, such as 2026-11-21T13:23:00Z.")])
    return time.timestamp()


def page() -> tuple[int, str]:
    """``limit`` and ``after`` of a list. Raises ParameterRefused."""
    text = flask.request.args.get("limit", str(DEFAULT_PAGE))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
    if not 1 <= limit <= MAX_PAGE:
        raise ParameterRefused([("/limit", f"limit should be 1 to {MAX_PAGE}.")])
    return limit, flask.request.args.get("after", "")


def paged(name: str, entries: list[dict[str, Any]], limit: int, key: str) -> flask.Response:
    """A list with the ``after`` of its next page; ``entries`` may be one more than ``limit``."""
    more = len(entries) > limit
    return flask.jsonify({name: entries[:limit], "next": entries[limit - 1][key] if more else None})
