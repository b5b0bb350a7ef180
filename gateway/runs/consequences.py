"""What becomes of a run after an attempt without a result: by the error, and by why the attempt was stopped."""

from enum import Enum, IntEnum, auto
from typing import Any

from gateway.errors import (
    Cancelled,
    DeadlineExceeded,
    GatewayError,
    ModelDied,
    ModelFailed,
    RequestError,
    StorageFull,
    Unavailable,
    to_words,
)


class StopReason(IntEnum):
    """Why an attempt should stop: it waits for input too long, the caller cancelled, the worker drains, or the lease
    went to another process.

    Of two reasons the greater counts.
    """

    PARKED = auto()
    CANCELLED = auto()
    DRAINING = auto()
    LOST = auto()


class Consequence(Enum):
    """What becomes of the run. ``GIVE_BACK`` counts no attempt; ``LEAVE`` leaves it to its present holder."""

    GIVE_BACK = auto()
    RETRY = auto()
    REFUSE = auto()
    FAIL = auto()
    CANCEL = auto()
    LEAVE = auto()


NO_PLACE = (Unavailable, StorageFull, DeadlineExceeded)
"""Errors of a run that the model has not begun: its place was not free, and it is executed later."""
STOPPED = {
    StopReason.PARKED: Consequence.GIVE_BACK,
    StopReason.CANCELLED: Consequence.CANCEL,
    StopReason.DRAINING: Consequence.GIVE_BACK,
    StopReason.LOST: Consequence.LEAVE,
}


def consequence_of(error: Exception, *, queued: bool, stop: StopReason | None) -> Consequence:
    """Return what becomes of a run after ``error``; ``queued`` tells that the model has not begun."""
    if stop is StopReason.LOST:
        return Consequence.LEAVE
    if stop is not None and isinstance(error, Cancelled):
        return STOPPED[stop]
    if queued and isinstance(error, NO_PLACE):
        return Consequence.GIVE_BACK
    if isinstance(error, ModelDied | Unavailable):
        return Consequence.RETRY
    return Consequence.REFUSE if isinstance(error, RequestError) else Consequence.FAIL


def problem_of(error: Exception) -> GatewayError:
    """Return the error as a caller sees it: the same as of a request."""
    if isinstance(error, GatewayError):
        return error
    return ModelFailed("The model raised an exception. The gateway's log has it under this request id.")


def problem_words(error: GatewayError, request_id: str) -> dict[str, Any]:
    """Return the stored form of an error: its problem as a request's (RFC 9457), and what makes the error again."""
    return {"problem": error.problem() | {"request_id": request_id}, "error": to_words(error) | {"private": ""}}
