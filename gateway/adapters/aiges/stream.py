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


class WorkerThread(threading.Thread):
    """The slot of one session: its id, parameters and queues, and the thread that works on it."""

    def __init__(self, handle: str) -> None:
        super().__init__(name=f"aiges {handle}", daemon=True)
        self.handle = handle
        self.in_q: queue.Queue[Any] = queue.Queue()
        self.out_q: queue.Queue[Any] = queue.Queue()
        self.sid = ""
        self.params: Any = {}
        self.is_idle = True
        self.is_stopping = False
        self.callback_fn: Any = None
        self.StreamHandleThreadClass: Any = StreamHandleThread

    @property
    def idle(self) -> bool:
        """Return True if the slot is free."""
        return self.is_idle

    def setup_sid(self, sid: str) -> None:
        """The session that this place serves now."""
        self.sid = sid

    def setup_params(self, params: Any) -> None:
        """Its parameters; the place is taken."""
        self.params = params
        self.is_idle = False

    def setup_callback_fn(self, callback: Any) -> None:
        """Set the function that sends its answers."""
        self.callback_fn = callback

    def setStreamHandleThreadClass(self, cls: Any) -> None:
        """The wrapper's own thread."""
        self.StreamHandleThreadClass = cls

    def reset(self) -> None:
        """Forget the session; the place is free."""
        for waiting in (self.in_q, self.out_q):
            with waiting.mutex:
                waiting.queue.clear()
        self.sid, self.params, self.is_idle = "", {}, True

    def stop(self) -> None:
        """End when the wrapper's thread does."""
        self.is_stopping = True

    def run(self) -> None:
        """Do the work of the wrapper's thread; where that raises, its session fails and the next has a fresh one."""
        while self._serve():
            pass

    def _serve(self) -> bool:
        """Run until the wrapper's own thread ends; True where another should follow it."""
        try:
            self.StreamHandleThreadClass(self, self.in_q, self.out_q).run()
            return False
        except BaseException as error:
            began = bool(self.sid)  # one that fails before it has work would go round for ever
            if not sessions.fail(self.sid, error):
                logger.error("%s raised\n%s", self.name, exception_frames(error))
            self.reset()
            return began and not self.is_stopping


class ThreadPool:
    """Places by their handle."""

    def __init__(self, handler: Any, process: int = 0, nums: int = 10) -> None:
        self.workers = {
            f"Process-{process}-Thread-{n}": WorkerThread(f"Process-{process}-Thread-{n}") for n in range(nums)
        }
        for worker in self.workers.values():
            worker.setStreamHandleThreadClass(handler)
            worker.start()

    def get_thread(self, handle: str) -> WorkerThread | None:
        """The place called ``handle``."""
        return self.workers.get(handle)


class SessionManager:
    """``WrapperBase.session``: claims and frees places."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.initialized = False
        self.wrapperConfig: Any = {}
        self.handle_pool: Any = None

    def init_wrapper_config(self, config: Any = None) -> None:
        """Keep the configuration."""
        self.wrapperConfig = config or {}

    def init_handle_pool(self, mode: str, nums: int, ReqThreadCls: Any) -> None:
        """Start ``nums`` places. Raises ValueError for a mode other than ``thread``, as the original has no other."""
        if mode == PROCESS_MODE:
            raise ValueError(f"aiges has no working process mode; use {THREAD_MODE!r}")
        self.handle_pool = ThreadPool(ReqThreadCls, 0, nums)
        self.initialized = True

    def get_session(self, handle: str) -> WorkerThread | None:
        """The place called ``handle``."""
        found: WorkerThread | None = self.handle_pool.get_thread(handle)
        return found

    def get_idle_handle(self) -> str | None:
        """Claim a free place; None when all are taken."""
        with _claiming:
            for handle, worker in self.handle_pool.workers.items():
                if worker.idle:
                    worker.is_idle = False
                    return str(handle)
        return None

    def reset_session(self, handle: str) -> None:
        """Free a place."""
        if worker := self.get_session(handle):
            worker.reset()

    set_idle_session = push_back = reset_session
