"""Views of routes that a service does not write itself: their refusals, and their place among the requests in work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec

import flask
from werkzeug.exceptions import HTTPException

from gateway.endpoints.current import current_service
from gateway.endpoints.problems import log_exception, problem_response
from gateway.errors import GatewayError
from gateway.intake.admission import Ticket

P = ParamSpec("P")
View = Callable[P, flask.Response]
Rule = tuple[str, str, Callable[..., flask.Response]]
"""Method, path and view."""


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


def answering_inference(view: View[P]) -> View[P]:
    """A view whose refusals are problems, and in which an exception is one of the model; its exchange counts both."""

    @wraps(view)
    def answered(*args: P.args, **kwargs: P.kwargs) -> flask.Response:
        try:
            return view(*args, **kwargs)
        except GatewayError as error:
            return problem_response(error)

    return answered


@contextmanager
def admission_ticket() -> Iterator[Ticket]:
    """A place among the requests in work, for one that brings many bytes. Raises Unavailable."""
    ticket = current_service().admission.enter()
    try:
        yield ticket
    finally:
        ticket.leave()
