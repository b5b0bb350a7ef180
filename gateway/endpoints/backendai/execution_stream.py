"""An execution over a WebSocket: results as they are, and answers to questions as they come.

The thread of the worker's waiting answers moves the frames. What takes longer, such as the copy of a study into a run,
is done in a few threads of this module, one step of each stream after the other.
"""

import json
import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from gateway.adapters.backendai.execution_words import (
    BUILT,
    CLEANED,
    CONTINUED,
    FINISHED,
    WAITING,
    ExecuteRequest,
    ExecutionResult,
)
from gateway.endpoints.backendai.compute_sessions import ComputeSession
from gateway.endpoints.backendai.executing import Executions
from gateway.endpoints.backendai.websocket_frames import CloseCode, Frames
from gateway.endpoints.waiting import Piece
from gateway.errors import GatewayError
from gateway.observe.logs import exception_frames
from gateway.protocol.request import parse_json
from gateway.runs.watches import Watch

logger = logging.getLogger("gateway")

STREAM_THREADS = 4
"""Threads of a worker for the steps of all streams."""
SILENCE_SECONDS = 60.0
"""Seconds without a byte of a client, which is pinged every 15, until it counts as gone."""
UNREAD = 1 << 20
"""Bytes that are pending for a client from which on no more of its console is read."""
MODES = ("query", "batch")
_threads = ThreadPoolExecutor(STREAM_THREADS, thread_name_prefix="gateway-streams")


class ExecutionStream:
    """One execution and its client. A ``DuplexFeed`` of the worker; its run ends with a client that leaves."""

    def __init__(self, executions: Executions, session: ComputeSession, longest: int) -> None:
        """``longest`` is the most characters of a message."""
        self._executions, self._session = executions, session
        self._lock = threading.RLock()
        self._frames = Frames(longest)
        self._key = f"stream {secrets.token_hex(16)}"
        self._wake: Callable[[], None] = _nothing
        self._heard = 0.0
        self._run_id, self._question = "", 0
        self._watch: Watch | None = None
        self._steps: deque[Callable[[], None]] = deque()
        self._working = self._following = self._paused = False
        self._begun = self._asked = self._finished = self._left = False

    @property
    def key(self) -> str:
        """See ``Feed``: no two streams share one."""
        return self._key

    @property
    def caller(self) -> str:
        """See ``Feed``."""
        return self._session.caller

    def watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """See ``Feed``."""
        self._wake = wake
        return self._gone

    def read(self, after: int) -> Piece:
        """See ``Feed``."""
        with self._lock:
            data = bytes(self._frames.out)
            self._frames.out.clear()
            if self._paused and self._frames.is_open():
                self._paused = False
                self._follow()
            return Piece(data, after + bool(data), not self._frames.is_open())

    def receive(self, data: bytes, now: float) -> None:
        """See ``DuplexFeed``."""
        with self._lock:
            self._heard = now
            for message in self._frames.receive(data):
                self._take(message)

    def keep_alive(self, now: float) -> None:
        """See ``DuplexFeed``."""
        with self._lock:
            self._heard = self._heard or now
            if now - self._heard > SILENCE_SECONDS:
                raise TimeoutError
            self._frames.ping()

    def leave(self) -> None:
        """See ``DuplexFeed``. The run goes on, and a client may follow it by its runId over HTTP."""
        with self._lock:
            self._left = True
            self._frames.close(CloseCode.STOPPING, "The server stops.")

    def _take(self, message: str) -> None:
        """Take a message: the first one is the execution, the others answer questions."""
        if not self._begun:
            self._begun = True
            try:
                request = ExecuteRequest.of(parse_json(message.encode(), None))
            except GatewayError as error:
                self._frames.close(CloseCode.REFUSED, error.detail)
                return
            if request.mode not in MODES:
                self._frames.close(CloseCode.REFUSED, f"The mode of a stream is {' or '.join(MODES)}.")
                return
            self._add(partial(self._begin, request))
        elif self._asked:
            self._asked = False
            self._add(partial(self._answer, message))
        else:
            self._frames.close(CloseCode.REFUSED, "No question waits for an answer.")

    def _add(self, step: Callable[[], None]) -> None:
        with self._lock:
            self._steps.append(step)
            if not self._working:
                self._working = True
                _threads.submit(self._work)

    def _work(self) -> None:
        """Do one step; another one waits for its turn behind those of other streams."""
        with self._lock:
            step = self._steps.popleft()
        try:
            step()
        except GatewayError as error:
            self._refuse(error)
        except Exception as error:
            logger.error("a stream of an execution ends\n%s", exception_frames(error))
            with self._lock:
                self._frames.close(CloseCode.FAILED, "The gateway failed; its log has the reason.")
        with self._lock:
            self._working = bool(self._steps)
            if self._working:
                _threads.submit(self._work)
        self._wake()

    def _refuse(self, error: GatewayError) -> None:
        busy = error.status in (429, 503)
        with self._lock:
            self._finished = True
            self._frames.text(json.dumps(ExecutionResult.refused(self._run_id, error.detail).words))
            self._frames.close(CloseCode.BUSY if busy else CloseCode.DONE, error.title)

    def _begin(self, request: ExecuteRequest) -> None:
        result = self._executions.begin(self._session, request)
        self._run_id = result.run_id
        self._show(result)

    def _answer(self, text: str) -> None:
        result = self._executions.answer(self._session, self._run_id, text)
        self._show(result, again=result.status == WAITING and result.question == self._question)

    def _proceed(self) -> None:
        with self._lock:
            self._following = False
            if len(self._frames.out) > UNREAD:
                self._paused = True
                return
        self._show(self._executions.proceed(self._session, self._run_id))

    def _show(self, result: ExecutionResult, *, again: bool = False) -> None:
        """Send what is new, and look for more once there may be some; ``again`` repeats the same question."""
        with self._lock:
            asks = result.status == WAITING and (again or result.question != self._question)
            if result.status == WAITING and not asks:  # its answer is on the way
                result.status, result.options = CONTINUED, {}
            if result.console or result.status != CONTINUED:
                self._frames.text(json.dumps(result.words))
            if asks:
                self._asked, self._question = True, result.question
            if result.status == FINISHED:
                self._finished = True
                self._frames.close(CloseCode.DONE)
        if result.status in (CLEANED, BUILT):
            self._follow()
        elif result.status in (CONTINUED, WAITING):
            self._listen(again=bool(result.console))

    def _listen(self, *, again: bool) -> None:
        """Be woken by the run from now on; look once more, since it may have changed before."""
        if self._watch is None and (place := self._executions.place(self._session, self._run_id)) is not None:
            self._watch = self._executions.runs.watch(place[0], self._follow)
            again = True
        elif self._watch is None:
            again = True  # it has ended
        if again:
            self._follow()

    def _follow(self) -> None:
        with self._lock:
            if not self._following and self._frames.is_open():
                self._following = True
                self._add(self._proceed)

    def _gone(self) -> None:
        """The connection is closed: the run of a client that has left before its end is cancelled."""
        if self._watch is not None:
            self._watch.close()
        if self._run_id and not self._finished and not self._left:
            self._add(partial(self._executions.cancel, self._session, self._run_id))


def _nothing() -> None:
    """Wake nobody yet."""
