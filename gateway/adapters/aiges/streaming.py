"""A streamed request: created, written, answered piece by piece, and destroyed in any case."""

import logging
import math
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from typing import Any

from gateway.adapters.aiges.constants import DataContinue
from gateway.adapters.aiges.sessions import SILENCE, Session
from gateway.adapters.aiges.stream import SessionManager
from gateway.adapters.aiges.wrapper_answers import Item
from gateway.adapters.aiges.wrapper_model import WrapperModel, call, ends
from gateway.contract.requests import JSON
from gateway.errors import ModelFailed
from gateway.observe.logs import exception_frames
from gateway.protocol.jsontext import Report

logger = logging.getLogger("gateway")

Conversation = Generator[list[Item], None, None]

PAUSE = 0.01
"""Seconds between two calls of ``wrapperRead`` while no answer is ready."""


def converse(
    model: WrapperModel, params: JSON, request: Any, *, report: Report, deadline: float = math.inf
) -> Conversation:
    """Yield the answers to one request as the wrapper makes them, up to the one with status 2.

    They come through ``callback``, or by ``wrapperRead`` from a wrapper that does not import it. Closing the generator
    ends the session. Raises GatewayError; DeadlineExceeded if the last answer is missing at ``deadline``
    (``time.monotonic``).
    """
    model.check_started()
    session: Session[list[Item]] = Session(partial(model.read, report=report), deadline)
    with closing(session):
        handle = _create(model, params, session.sid)
        try:
            model.refuse("wrapperWrite", call(model.wrapper.wrapperWrite, handle, request, session.sid))
            answers = iter(session) if model.uses_callback else _polled(model, handle, session)
            for items in answers:
                yield items
                if ends(items):
                    return
        finally:
            session.close()  # first: a wrapper may wait in it for a thread that waits for the reader
            _destroy(model, handle, session.sid)


def _create(model: WrapperModel, params: JSON, sid: str) -> str:
    created = call(model.wrapper.wrapperCreate, params, sid)
    if not hasattr(created, "handle"):
        raise ModelFailed("The wrapper's wrapperCreate should return a SessionCreateResponse.")
    model.refuse("wrapperCreate", created.error_code)
    return str(created.handle)


def _destroy(model: WrapperModel, handle: str, sid: str) -> None:
    try:
        call(model.wrapper.wrapperDestroy, handle)
    except Exception as error:  # the answer has been sent, or another error is on its way
        logger.error("wrapperDestroy of %s raised\n%s", model.name, exception_frames(error))
    slots = model.wrapper.session
    if isinstance(slots, SessionManager):
        slots.end_session(handle, sid)  # where it ended early, and the wrapper has not freed the slot


def _polled(model: WrapperModel, handle: str, session: Session[list[Item]]) -> Iterator[list[Item]]:
    limit = time.monotonic() + SILENCE
    while time.monotonic() < min(limit, session.deadline):
        response = call(model.wrapper.wrapperRead, handle, session.sid)
        if _is_pending(response):
            time.sleep(PAUSE)
            continue
        yield session.read(response)
        limit = time.monotonic() + SILENCE
    raise session.silent()


def _is_pending(response: Any) -> bool:
    """Return True for None, or the empty piece with status 1, by which the examples of AIGES report that no answer is
    ready.
    """
    if response is None or response == []:
        return True
    pieces = getattr(response, "list", None) or ()
    waiting = (not piece.data and piece.status == DataContinue for piece in pieces)
    return not getattr(response, "error_code", 0) and bool(pieces) and all(waiting)
