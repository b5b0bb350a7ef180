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

PENDING = 64
"""Answers that may wait for a slow client before the wrapper's thread waits too."""
SILENCE = 600.0
"""Seconds without an answer after which a session is ended: as long as the longest prediction served."""

T = TypeVar("T")

_open: "dict[str, Session[object]]" = {}


class SessionOver(BaseException):
    """Raised by ``callback`` in a session thread whose answer is refused: it need not work on that session any more.

    No ``Exception``, which wrappers catch.
    """


class SessionThread(threading.Thread):
    """A thread that ends its session on SessionOver, and goes on with the next."""


class Session(Generic[T]):
    """A streamed request, until ``deadline`` (``time.monotonic``).

    ``read`` turns an answer of the wrapper into the item to send, in the wrapper's own thread: the wrapper may reuse
    its objects for the next answer.
    """

    def __init__(self, read: Callable[[object], T], deadline: float = math.inf) -> None:
        self.deadline = deadline
        self.sid = secrets.token_hex(16)  # never the caller's own id, which two requests could share
        self.read = read
        self.refusal: Exception | None = None
        self._queue: queue.Queue[T | BaseException] = queue.Queue(PENDING)
        self._closed = threading.Event()
        _open[self.sid] = self  # type: ignore[assignment]

    def deliver(self, response: object) -> None:
        """Pass one answer to the reader, or the error that refuses it.

        Raises SessionOver in a SessionThread, which reports the refusal once it is free for the next session.
        """
        try:
            item = self.read(response)
        except Exception as error:  # belongs to the request, not to the wrapper's thread
            self.refusal = error
            if isinstance(threading.current_thread(), SessionThread):
                raise SessionOver from error
            self.put(error)
        else:
            self.put(item)

    def put(self, item: T | BaseException) -> None:
        """Queue an item, or the refusal of an earlier one. Waits for space in the queue until the session is closed."""
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(self.refusal or item, timeout=0.5)
                return

    def __iter__(self) -> Iterator[T]:
        """Yield the answers as they arrive.

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
        """Return the error for a wrapper that gives no answer."""
        if time.monotonic() >= self.deadline:
            return DeadlineExceeded("The wrapper did not give all its answers before the deadline of the request.")
        return ModelFailed(f"The wrapper gave no answer for {SILENCE:.0f} s, and its session was ended.")

    def close(self) -> None:
        """End the session: later answers are dropped."""
        self._closed.set()
        _open.pop(self.sid, None)


def deliver(sid: str, response: object) -> None:
    """Pass an answer to its session; an answer to a closed session is dropped."""
    if session := _open.get(sid):
        session.deliver(response)
    else:
        logger.debug("dropped an answer to a closed session")


def fail(sid: str, error: BaseException) -> bool:
    """Report the error of the session thread of ``sid``; return False if that session is closed."""
    session = _open.get(sid)
    if session:
        session.put(error)
    return session is not None


def report_refusal(sid: str) -> None:
    """Report the refusal of a session, if there is one, once its thread is free."""
    session = _open.get(sid)
    if session and session.refusal:
        session.put(session.refusal)
