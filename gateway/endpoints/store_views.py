"""Helpers of the study store's routes: the store, times and pages of lists."""

from datetime import UTC, datetime
from typing import Any

import flask

from gateway.endpoints.current import current_service
from gateway.errors import ParameterRefused
from gateway.studies.instance_rows import MAX_PAGE
from gateway.studies.store_context import StoreContext

DEFAULT_PAGE = 100


def store_context() -> StoreContext:
    """Return the store of this application."""
    service = current_service()
    assert service.store is not None  # these routes are added with it
    return service.store


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
