"""Streamed answers on their way from a wrapper's threads to the thread that sends them."""

import contextlib
import logging
import math
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from gateway.errors import DeadlineExceeded, GatewayError, ModelFailed

logger = logging.getLogger("gateway")

WAITING = 64
"""Answers that wait for a slow client before the wrapper's thread waits too."""
SILENCE = 600.0
"""Seconds without an answer after which a wrapper is given up: as long as the longest prediction served."""

T = TypeVar("T")

_open: "dict[str, Session[object]]" = {}


class Session(Generic[T]):
    """A streamed request, until ``deadline`` (``time.monotonic``).

    ``read`` makes what is sent of what the wrapper gives, in the wrapper's own thread: it may use its objects again for
    the next answer.
    """

    def __init__(self, read: Callable[[object], T], deadline: float = math.inf) -> None:
        self.deadline = deadline
        self.sid = secrets.token_hex(16)  # never the caller's own id, which two requests could share
        self.read = read
        self._queue: queue.Queue[T | BaseException] = queue.Queue(WAITING)
        self._closed = threading.Event()
        _open[self.sid] = self  # type: ignore[assignment]

    def deliver(self, response: object) -> None:
        """Hand over one answer; a fault in it is told to the reader, and nothing is once the session is closed."""
        try:
            self.put(self.read(response))
        except Exception as error:  # belongs to the request, not to the wrapper's thread
            self.put(error)

    def put(self, item: T | BaseException) -> None:
        """Wait for room; give up when nobody reads any more."""
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.5)
                return

    def __iter__(self) -> Iterator[T]:
        """The answers as they come.

        Raises what ``read`` or the wrapper's thread raised, ModelFailed after SILENCE, DeadlineExceeded.
        """
        while True:
            try:
                item = self._queue.get(timeout=max(0.0, min(SILENCE, self.deadline - time.monotonic())))
            except queue.Empty:
                raise self.silent() from None
            if isinstance(item, BaseException):
                raise item
            yield item

    def silent(self) -> GatewayError:
        """Return the error of a wrapper that gives no answer."""
        if time.monotonic() >= self.deadline:
            return DeadlineExceeded("The wrapper did not give all its answers before the deadline of the request.")
        return ModelFailed(f"The wrapper gave no answer for {SILENCE:.0f} s and was given up.")

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed.set()
        _open.pop(self.sid, None)


def deliver(sid: str, response: object) -> None:
    """Hand an answer to its session; one for a session that is over is dropped."""
    if session := _open.get(sid):
        session.deliver(response)
    else:
        logger.debug("an answer came for a session that is over")


def fail(sid: str, error: BaseException) -> bool:
    """The wrapper's thread died while it served the session ``sid``; False where nobody is there to hear it."""
    session = _open.get(sid)
    if session:
        session.put(error)
    return session is not None
