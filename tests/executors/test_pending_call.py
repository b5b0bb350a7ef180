"""The result of a pending call when the model, the deadline and the client each end it."""

import math
import time

import pytest

from gateway.contract.execution import RequestContext
from gateway.contract.requests import Request
from gateway.errors import Cancelled, DeadlineExceeded
from gateway.executors.pending_call import PendingCall


def pending(deadline: float) -> PendingCall:
    return PendingCall(Request(json={}, instances=[], input_digest="", context=RequestContext(deadline)))


def here() -> bool:
    return False


def test_a_model_that_stops_since_the_deadline_has_passed_is_late_and_not_left_by_its_client() -> None:
    call = pending(time.monotonic() - 1)
    call.settle(Cancelled())
    with pytest.raises(DeadlineExceeded):
        call.result(here)


def test_a_model_that_cancels_itself_is_reported() -> None:
    call = pending(math.inf)
    call.settle(Cancelled())
    with pytest.raises(Cancelled):
        call.result(here)


def test_a_client_that_has_disconnected_ends_the_wait_and_the_run() -> None:
    call = pending(math.inf)
    with pytest.raises(Cancelled):
        call.result(lambda: True)
    assert call.request.context.cancelled()


def test_the_first_outcome_counts() -> None:
    call = pending(math.inf)
    call.settle(DeadlineExceeded())
    call.settle(Cancelled())
    assert call.over
    with pytest.raises(DeadlineExceeded):
        call.result(here)
