"""Answers that wait without a thread of their own: one thread serves all of a worker's."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any

from gunicorn.http.wsgi import Response
from gunicorn.workers.gthread import PollableMethodQueue

from gateway.endpoints.waiting import STREAM_SECONDS, Application, DuplexFeed, Feed, Piece
from gateway.errors import GatewayError
from gateway.observe.logs import exception_frames
from gateway.server.master import WAITS
from gateway.server.rate_limited_socket import WOULD_BLOCK
from gateway.server.watcher_state import Watcher

RECEIVED = 4096
"""Bytes that are read of a client whose answer waits."""


class Watchers:
    """The waiting answers of one worker: at most ``limit``, and ``share`` of one caller with a name; 0 for no share.

    ``release`` is called in the thread of the watchers with each that ends: sent whole, to be resumed, or ``lost``.
    """

    def __init__(self, limit: int, share: int, timeout: float, release: Callable[[Watcher], None], log: Any) -> None:
        """``timeout`` is the seconds in which a client has to read what is pending."""
        self.limit, self._share, self._timeout, self._release, self._log = limit, share, timeout, release, log
        self._calls = PollableMethodQueue()
        self._selector = DefaultSelector()
        self._topics: dict[str, _Topic] = {}
        self._due = math.inf
        """The time at which something may be due."""
        self._pieces: dict[tuple[type, str, int], Piece] = {}
        """What has been read in this turn of the loop, for the other watchers of the same feed."""
        self._started = self._stopping = False
        self.count = 0
        """Those that wait; changed by the worker's main thread alone, as are those of each caller."""
        self._of_callers = Counter[str]()

    @property
    def full(self) -> bool:
        """See gateway.endpoints.waiting.WaitingServer."""
        return self.count >= self.limit

    def has_share(self, caller: str) -> bool:
        """See gateway.endpoints.waiting.WaitingServer."""
        return not (caller and self._share) or self._of_callers[caller] < self._share

    def knows(self, start_response: Any) -> bool:
        """See gateway.endpoints.waiting.WaitingServer."""
        return isinstance(getattr(start_response, "__self__", None), Response)

    def stream(self, environ: dict[str, Any], start_response: Any, begun: bytes, feed: Feed, after: int) -> None:
        """See gateway.endpoints.waiting.WaitingServer."""
        response = start_response.__self__
        response.force_close()
        response.send_headers()
        until = time.monotonic() + STREAM_SECONDS
        chunked = response.chunked
        watcher = Watcher(feed, after, response, environ, timeout=self._timeout, chunked=chunked, until=until)
        watcher.add(begun, watcher.started)
        response.chunked = False  # gunicorn would end the body now
        environ["gunicorn.socket"].watcher, environ[WAITS] = watcher, True

    def converse(self, environ: dict[str, Any], start_response: Any, conversation: DuplexFeed) -> None:
        """See gateway.endpoints.waiting.WaitingServer."""
        response = start_response.__self__
        response.force_close()
        response.send_headers()
        watcher = Watcher(conversation, 0, response, environ, timeout=self._timeout, conversation=conversation)
        environ["gunicorn.socket"].watcher, environ[WAITS] = watcher, True

    def defer(
        self, environ: dict[str, Any], start_response: Any, resume: Application, feed: Feed, after: int, until: float
    ) -> None:
        """See gateway.endpoints.waiting.WaitingServer."""
        response = start_response.__self__
        response.headers_sent = response.must_close = True  # gunicorn sends nothing
        environ["gunicorn.socket"].watcher = Watcher(feed, after, response, environ, resume=resume, until=until)
        environ[WAITS] = True

    def join(self, watcher: Watcher) -> None:
        """Serve ``watcher``, which has its connection; called by the worker's main thread."""
        if not self._started:
            self._started = True
            self._calls.init()
            threading.Thread(target=self._run, name="gateway-watchers", daemon=True).start()
        self.count += 1
        self._of_callers[watcher.feed.caller] += 1
        self._calls.defer(self._begin, watcher)

    def leave(self, watcher: Watcher) -> None:
        """Count an answer that has ended no longer; called by the worker's main thread."""
        self.count -= 1
        self._of_callers[watcher.feed.caller] -= 1
        if not self._of_callers[watcher.feed.caller]:
            del self._of_callers[watcher.feed.caller]

    def stop(self) -> None:
        """End all answers, later ones too, once they have what there is; called by the worker's main thread."""
        self._stopping = True
        if self._started:
            self._calls.defer(self._end)

    def _run(self) -> None:
        self._selector.register(self._calls.fileno(), EVENT_READ, self._calls.run_callbacks)
        while True:
            wait = None if math.isinf(self._due) else max(0.0, self._due - time.monotonic())
            for key, _ in self._selector.select(wait):
                key.data(key.fileobj)
            if time.monotonic() >= self._due:
                self._expire(time.monotonic())
            self._pieces.clear()

    def _begin(self, watcher: Watcher) -> None:
        key = watcher.feed.key
        if key not in self._topics:  # what was read before this subscription may be old
            self._topics[key] = _Topic()
            self._pieces.clear()
        topic = self._topics[key]
        topic.watchers[watcher] = None
        self._advance(watcher, partial(self._open, watcher, topic))

    def _open(self, watcher: Watcher, topic: "_Topic") -> None:
        """Subscribe, and pass on what the client of a conversation has sent behind its head."""
        topic.open(watcher.feed, partial(self._calls.defer, self._spread, watcher.feed.key))
        if watcher.conversation is not None and (early := watcher.conn.parser.unreader.take_buffered()):
            watcher.conversation.receive(early, time.monotonic())

    def _end(self) -> None:
        for key in list(self._topics):
            self._spread(key)

    def _spread(self, key: str) -> None:
        """Send what is new of one feed to all that wait for it."""
        topic = self._topics.get(key)
        for watcher in list(topic.watchers) if topic else ():
            self._advance(watcher)

    def _expire(self, now: float) -> None:
        watchers = [watcher for topic in self._topics.values() for watcher in topic.watchers]
        for watcher in watchers:
            if watcher.due <= now:
                self._advance(watcher, partial(watcher.expire, now))
        self._due = min((watcher.due for watcher in watchers if watcher.waits), default=math.inf)

    def _advance(self, watcher: Watcher, call: Callable[[], object] = bool) -> None:
        """Call ``call``, then send what is new as far as the client reads. An error ends this answer alone."""
        try:
            call()
            over = self._move(watcher)
        except OSError:  # of the connection
            self._close(watcher, lost=True)
        except Exception as error:  # of the feed: the answer is resumed, or the client of a stream connects again
            if not isinstance(error, GatewayError):
                self._log.error("A waiting answer ends.\n%s", exception_frames(error))
            self._close(watcher, lost=watcher.resume is None)
        else:
            if over:
                self._close(watcher)

    def _move(self, watcher: Watcher) -> bool:
        """Return True once all is sent. Raises OSError, and what the feed raises."""
        now = time.monotonic()
        if self._stopping and watcher.conversation is not None:
            watcher.conversation.leave()
        while self._flush(watcher) and not watcher.ended:
            before = watcher.after
            watcher.take(self._read(watcher), now)
            if watcher.after == before and not watcher.pending and not watcher.ended:
                if not self._stopping:
                    break
                watcher.end(now)
        if watcher.pending and self._stopping:
            raise ConnectionAbortedError  # a slow client does not delay the end of the worker
        self._due = min(self._due, watcher.due)
        self._poll(watcher)
        return watcher.over

    def _read(self, watcher: Watcher) -> Piece:
        place = type(watcher.feed), watcher.feed.key, watcher.after
        piece = self._pieces.get(place)
        if piece is None:
            piece = self._pieces[place] = watcher.feed.read(watcher.after)
        return piece

    def _flush(self, watcher: Watcher) -> bool:
        """Send what is pending, without waiting; return whether all is sent. Raises OSError."""
        try:
            while watcher.pending:
                count = watcher.conn.sock.send(watcher.pending)
                watcher.response.sent += count
                watcher.sent(count)
        except WOULD_BLOCK:
            return False
        return True

    def _poll(self, watcher: Watcher) -> None:
        events = (EVENT_READ if watcher.reading else 0) | (EVENT_WRITE if watcher.pending else 0)
        if events == watcher.polled:
            return
        ready, sock = partial(self._on_ready, watcher), watcher.conn.sock
        if not events:
            self._selector.unregister(sock)
        elif watcher.polled:
            self._selector.modify(sock, events, ready)
        else:
            self._selector.register(sock, events, ready)
        watcher.polled = events

    def _on_ready(self, watcher: Watcher, _fileobj: Any) -> None:
        if watcher.waits:
            self._advance(watcher, partial(self._listen, watcher))

    def _listen(self, watcher: Watcher) -> None:
        """Notice a client that has closed; leave what else it sends to its next request. Raises OSError."""
        if watcher.conversation is not None:
            self._converse(watcher, watcher.conversation)
            return
        data = watcher.conn.sock.receive(RECEIVED) if watcher.reads else None
        if data == b"" and watcher.resume is None:
            raise ConnectionResetError
        if data is not None:  # a client may end its own direction and wait for the answer (RFC 9112 9.6)
            watcher.reads = False
            watcher.conn.parser.unreader.unread(data)

    def _converse(self, watcher: Watcher, conversation: DuplexFeed) -> None:
        """Pass on what the client has sent: all that TLS has decrypted, since that wakes no poller. Raises OSError."""
        while watcher.reading:
            data = watcher.conn.sock.receive(RECEIVED)
            if data is None:
                return
            if not data:
                raise ConnectionResetError
            conversation.receive(data, time.monotonic())
            watcher.take(conversation.read(watcher.after), time.monotonic())

    def _close(self, watcher: Watcher, *, lost: bool = False) -> None:
        """End an answer, and release it."""
        watcher.waits, watcher.lost = False, lost
        if watcher.polled:
            self._selector.unregister(watcher.conn.sock)
        topic = self._topics[watcher.feed.key]
        del topic.watchers[watcher]
        if not topic.watchers:
            del self._topics[watcher.feed.key]
            topic.unwatch()
        self._release(watcher)


class _Topic:
    """Those that wait for feeds of one key, and what ends their common subscription."""

    def __init__(self) -> None:
        self.watchers: dict[Watcher, None] = {}
        self.unwatch: Callable[[], None] | Callable[[], bool] = bool
        self._open = False

    def open(self, feed: Feed, wake: Callable[[], None]) -> None:
        """Subscribe, once."""
        if not self._open:
            self.unwatch, self._open = feed.watch(wake), True
