"""A request's thread while another thread or process works: it waits for the answer, the deadline and the client."""

import threading
import time
from collections.abc import Callable

from gateway.contract.requests import Request, Result
from gateway.errors import Cancelled, DeadlineExceeded

SLICE = 0.25
"""Seconds between two looks at whether the client is still there."""
LATE = "The model did not answer before the deadline of the request."


class PendingCall:
    """A call that waits for its outcome."""

    def __init__(self, request: Request, key: str = "") -> None:
        self.request = request
        self.key = key
        self.submitted = time.monotonic()
        self.over = False
        """Whether there is, or was, an outcome."""
        self._outcome: Result | Exception | None = None
        self._settled = threading.Lock()  # a bare one wakes its thread in half the time that an Event takes
        self._settled.acquire()

    def begin(self, queued: float) -> None:
        """The model has it, after so many seconds in line."""
        self.request.context.began = self.submitted + queued

    def settle(self, outcome: Result | Exception) -> None:
        """Give the outcome; the first counts."""
        if not self.over:
            self.over, self._outcome = True, outcome
            self._settled.release()

    def result(self, gone: Callable[[], bool]) -> Result:
        """Wait for the outcome. Raises what it raised, DeadlineExceeded, or Cancelled when ``gone`` says the client is.

        In the last two cases the run is told that nobody waits for it.
        """
        context = self.request.context  # its deadline moves while the model waits for input
        while not self._settled.acquire(timeout=max(0.0, min(SLICE, context.deadline - time.monotonic()))):
            if time.monotonic() >= context.deadline:
                context.cancel()
                raise DeadlineExceeded(LATE)
            if gone():
                context.cancel()
                raise Cancelled("The client has gone.")
        outcome, self._outcome = self._outcome, None
        assert outcome is not None  # settled
        if isinstance(outcome, Result):
            return outcome
        if isinstance(outcome, Cancelled) and time.monotonic() >= context.deadline:
            raise DeadlineExceeded(LATE)  # the model's checkpoint saw the deadline before this thread woke
        try:
            raise outcome
        finally:
            del outcome  # an error holds its frames, and they the request's bytes: no circle may keep them
