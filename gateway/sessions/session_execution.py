"""The execution of a session: calls of its model in one exchange, until one of them answers."""

import logging
import time

from gateway.contract.requests import Request, Result
from gateway.errors import Cancelled, GatewayError, ModelDied, ModelFailed, Unavailable
from gateway.observe.logs import exception_frames
from gateway.service.exchange import Exchange
from gateway.sessions.click_session import ClickSession, FinishedSession
from gateway.spool.parts import PartFile

logger = logging.getLogger("gateway")

LONGEST_PAUSE = 2.0
"""Seconds between two tries to have a place of the model again, at most: the caller waits."""


def execute(session: ClickSession, exchange: Exchange, request: Request) -> None:
    """Execute a session to its end, in the thread that calls; the exchange is closed then."""
    try:
        result = _result(session, exchange, request)
        exchange.answer(result)
        files = [file for file in request.instances if isinstance(file, PartFile)]  # as all of a spool are
        session.finished(FinishedSession(result, exchange.finish(), session.route, request.received, files))
    except Exception as error:
        exchange.fail(error)
        session.failed(_reported(error, exchange))
    finally:
        exchange.close()


def _result(session: ClickSession, exchange: Exchange, request: Request) -> Result:
    """Return the model's answer, by as many calls as it takes: each gets the answers of the former one again."""
    refused_since: float | None = None
    while True:
        call = session.begin_call()
        exchange.restart()
        try:
            return exchange.infer(request)
        except Cancelled:
            if session.wants(call):
                raise
            refused_since = None
        except ModelDied:
            if not session.died():
                raise
            refused_since = None
        except Unavailable as error:
            refused_since = refused_since or time.monotonic()
            if call == 1 or time.monotonic() >= refused_since + exchange.timeout:
                raise
            session.pause(min(LONGEST_PAUSE, error.retry_after))


def _reported(error: Exception, exchange: Exchange) -> GatewayError:
    """Return an error as the caller may see it; the log has what it does not tell."""
    if isinstance(error, GatewayError):
        return error
    with_text = exchange.settings.log_exception_text
    exchange.logger.error("exception\n%s", exception_frames(error, with_text=with_text))
    return ModelFailed("The model raised an exception. The gateway's log has it under the session's request id.")
