"""The pool of session threads that streaming wrappers build in ``wrapperInit`` (``aiges.stream``).

A handle names a ``WorkerThread``, which holds one session's state and runs the wrapper's own ``StreamHandleThread``.
"""

import logging
import queue
import threading
from typing import Any

from gateway.adapters.aiges import sessions
from gateway.adapters.aiges.constants import PROCESS_MODE, THREAD_MODE
from gateway.observe.logs import exception_frames

__all__ = [
    "SessionManager",
    "StreamHandleThread",
    "ThreadPool",
    "WorkerThread",
]

logger = logging.getLogger("gateway")

_claiming = threading.Lock()


class StreamHandleThread(threading.Thread):
    """The base of a wrapper's thread: ``run`` takes requests from ``in_q`` and answers by the session's callback."""

    def __init__(self, session_thread: "WorkerThread", in_q: "queue.Queue[Any]", out_q: "queue.Queue[Any]") -> None:
        super().__init__(daemon=True)
        self.is_stopping = False
        self.session_thread = session_thread
        self.in_q = in_q
        self.out_q = out_q

    def init_model(self, *args: Any, **kwargs: Any) -> Any:
        """Load what this thread needs; for the wrapper to write."""
        raise NotImplementedError("write init_model, or a run of your own")

    def stop(self) -> None:
        """Ask ``run`` to end."""
        self.is_stopping = True

    def run(self) -> None:
        """Load the model and end; a wrapper that answers has a ``run`` of its own."""
        self.init_model(self.session_thread.handle)


class _Requests(queue.Queue[Any]):
    """Requests to one slot. Its thread finishes a request by getting the next one."""

    def __init__(self, slot: "WorkerThread") -> None:
        super().__init__()
        self._slot = slot

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """See ``queue.Queue.get``."""
        with self.mutex:
            self._slot.finish()
        return super().get(block, timeout)

    def _get(self) -> Any:  # under the mutex, so that no reset comes between the request and this note
        self._slot.serving = self._slot.sid
        return super()._get()

    def wait(self) -> None:
        """Wait for a request, without getting it."""
        with self.not_empty:
            self.not_empty.wait_for(self._qsize)


class WorkerThread(sessions.SessionThread):
    """The slot of one session: its id, parameters and queues, and the thread that works on it.

    A slot is free once its session has ended **and** its thread has finished the request: otherwise the next session
    would receive the rest of the answers.
    """

    def __init__(self, handle: str) -> None:
        super().__init__(name=f"aiges {handle}", daemon=True)
        self.handle = handle
        self.in_q = _Requests(self)
        self.out_q: queue.Queue[Any] = queue.Queue()
        self.sid = ""
        self.serving: str | None = None
        self.params: Any = {}
        self.is_idle = True
        self.is_stopping = False
        self.callback_fn: Any = None
        self.StreamHandleThreadClass: Any = StreamHandleThread
        self._leaving = False

    @property
    def idle(self) -> bool:
        """Return True if the slot is free."""
        return self.is_idle

    def setup_sid(self, sid: str) -> None:
        """Set the session that this slot serves."""
        self.sid = sid

    def setup_params(self, params: Any) -> None:
        """Set the parameters of the session; the slot is claimed."""
        self.params = params
        self.is_idle = False

    def setup_callback_fn(self, callback: Any) -> None:
        """Set the function that sends the answers."""
        self.callback_fn = callback

    def setStreamHandleThreadClass(self, cls: Any) -> None:
        """Set the class of the wrapper's own thread."""
        self.StreamHandleThreadClass = cls

    def reset(self) -> None:
        """Free the slot; from another thread, once its own has finished the request."""
        self.end_session(self.sid)

    def end_session(self, sid: str) -> None:
        """Free the slot as ``reset`` does, unless it serves another session by now."""
        with self.in_q.mutex:
            if self.sid != sid:
                return
            self._leaving = self.serving is not None and threading.current_thread() is not self
            if not self._leaving:
                self._free()
        sessions.report_refusal(sid)

    def finish(self) -> None:
        """Note that the thread has finished its request. To be called under the mutex of ``in_q``."""
        self.serving = None
        if self._leaving:
            self._leaving = False
            self._free()

    def _free(self) -> None:
        self.in_q.queue.clear()
        with self.out_q.mutex:
            self.out_q.queue.clear()
        self.sid, self.params, self.is_idle = "", {}, True

    def stop(self) -> None:
        """End when the wrapper's thread does."""
        self.is_stopping = True

    def run(self) -> None:
        """Run the wrapper's thread; if it raises, its session fails, and the next request gets a fresh one."""
        while self._serve():
            self.in_q.wait()

    def _serve(self) -> bool:
        """Run until the wrapper's own thread ends; return True if it raised and another should follow."""
        try:
            self.StreamHandleThreadClass(self, self.in_q, self.out_q).run()
            return False
        except BaseException as error:
            with self.in_q.mutex:
                sid = self.sid if self.serving is None else self.serving
                self.finish()
            self.end_session(sid)
            if not sessions.fail(sid, error) and not isinstance(error, sessions.SessionOver):
                logger.error("%s raised\n%s", self.name, exception_frames(error))
            return not self.is_stopping


class ThreadPool:
    """Slots by their handle."""

    def __init__(self, handler: Any, process: int = 0, nums: int = 10) -> None:
        self.workers = {
            f"Process-{process}-Thread-{n}": WorkerThread(f"Process-{process}-Thread-{n}") for n in range(nums)
        }
        for worker in self.workers.values():
            worker.setStreamHandleThreadClass(handler)
            worker.start()

    def get_thread(self, handle: str) -> WorkerThread | None:
        """Return the slot called ``handle``."""
        return self.workers.get(handle)


class SessionManager:
    """``WrapperBase.session``: claims and frees slots."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.initialized = False
        self.wrapperConfig: Any = {}
        self.handle_pool: Any = None

    def init_wrapper_config(self, config: Any = None) -> None:
        """Store the configuration."""
        self.wrapperConfig = config or {}

    def init_handle_pool(self, mode: str, nums: int, ReqThreadCls: Any) -> None:
        """Start ``nums`` slots. Raises ValueError for a mode other than ``thread``, as the original has no other."""
        if mode == PROCESS_MODE:
            raise ValueError(f"aiges has no working process mode; use {THREAD_MODE!r}")
        self.handle_pool = ThreadPool(ReqThreadCls, 0, nums)
        self.initialized = True

    def get_session(self, handle: str) -> WorkerThread | None:
        """Return the slot called ``handle``."""
        slot: WorkerThread | None = self.handle_pool.get_thread(handle)
        return slot

    def get_idle_handle(self) -> str | None:
        """Claim a free slot; return None if all are claimed."""
        with _claiming:
            for handle, worker in self.handle_pool.workers.items():
                if worker.idle:
                    worker.is_idle = False
                    return str(handle)
        return None

    def reset_session(self, handle: str) -> None:
        """Free a slot."""
        if worker := self.get_session(handle):
            worker.reset()

    set_idle_session = push_back = reset_session

    def end_session(self, handle: str, sid: str) -> None:
        """Free the slot called ``handle`` if there is one that serves ``sid``."""
        if self.handle_pool and (worker := self.get_session(handle)):
            worker.end_session(sid)
