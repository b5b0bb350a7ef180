"""The worker's side of answers that wait: a connection leaves its thread, and returns to one for its answer."""

import time
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gunicorn.http.wsgi import Response

from gateway.observe.logs import exception_frames
from gateway.server.bulkheads import Bulkhead
from gateway.server.master import WAITS
from gateway.server.request_heads import Connection
from gateway.server.watcher_state import Watcher
from gateway.server.watchers import Watchers

if TYPE_CHECKING:
    from gateway.server.connections import BoundedWorker

RESUME_THREADS = 4
"""Threads for answers that have waited: many may be due at once, and none takes the place of another request."""


class WaitingAnswers:
    """The connections of one worker whose answers wait."""

    def __init__(self, worker: "BoundedWorker", most: int) -> None:
        """``most`` connections may be open: those that wait are allowed beside the others, as far as it suffices."""
        self._worker, self._least, self._most = worker, worker.worker_connections, most
        settings = worker.settings
        limit, share, timeout = min(settings.watchers, most // 2), settings.caller_watchers, settings.read_timeout
        self.watchers = Watchers(limit, share, timeout, self._release, worker.log)
        self._resumed = Bulkhead(RESUME_THREADS, RESUME_THREADS, self._start, self._wake)

    def begin(self, conn: Connection) -> None:
        """Take a connection from its thread; called by the main thread, as all but what says otherwise."""
        watcher, conn.sock.watcher = conn.sock.watcher, None
        watcher.conn = conn
        conn.sock.setblocking(False)
        if self._least <= self._worker.worker_connections < self._most:  # not lowered for want of files
            self._worker.worker_connections += 1
        self.watchers.join(watcher)

    def _release(self, watcher: Watcher) -> None:
        """Leave the thread of the watchers."""
        self._worker.method_queue.defer(self._leave, watcher)

    def _leave(self, watcher: Watcher) -> None:
        self.watchers.leave(watcher)
        if self._worker.worker_connections > self._least:
            self._worker.worker_connections -= 1
        conn = watcher.conn
        if watcher.resume is not None and not watcher.lost:
            conn.watcher, conn.bulkhead = watcher, self._resumed
            self._resumed.join(conn)
            return
        self._log(watcher, watcher.response)
        if watcher.lost:
            self._worker.close(conn)
        else:
            self._worker.close_gently(conn)

    def _wake(self) -> None:
        self._worker.method_queue.defer(self._resumed.go)

    def _start(self, conn: Any) -> None:
        worker = self._worker
        future = worker.tpool.submit(self._answer, conn)
        future.add_done_callback(lambda done: worker.method_queue.defer(worker.finish_request, conn, done))

    def _answer(self, conn: Connection) -> bool:
        """Answer a request that has waited, in a thread; return True for a connection that may be used again."""
        watcher, conn.watcher = conn.watcher, None
        assert watcher is not None
        assert watcher.resume is not None
        conn.sock.setblocking(True)
        worker, response = self._worker, Response(watcher.response.req, conn.sock, conn.cfg)
        if not worker.alive or len(worker.keepalived_conns) >= worker.max_keepalived:
            response.force_close()
        try:
            body: Any = watcher.resume(watcher.environ, response.start_response)
            with closing(body):  # Werkzeug's have a close
                for piece in body:
                    response.write(piece)
                response.close()
        except OSError:  # the client has gone
            return False
        except Exception as error:
            worker.log.error("An answer that waited failed.\n%s", exception_frames(error))
            return False
        finally:
            self._log(watcher, response)
        return worker._keepalive_after(conn, not response.should_close())

    def _log(self, watcher: Watcher, response: Any) -> None:
        """Write the line of the access log."""
        watcher.environ.pop(WAITS, None)
        if response.status is not None:
            seconds = timedelta(seconds=time.monotonic() - watcher.started)
            self._worker.log.access(response, response.req, watcher.environ, seconds)
