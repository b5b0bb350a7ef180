"""Answers that wait: streams of events, and answers that are made once something has changed.

The gateway's own worker serves them without a thread. Other WSGI servers wait in the thread of the request.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import flask
from werkzeug.wsgi import ClosingIterator

from gateway.errors import TooManyRequests, Unavailable

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment, which clients ignore (HTML 9.2.6)."""
KEEP_ALIVE_SECONDS = 15.0
"""Seconds without an event before a comment is sent: HTML 9.2.7 recommends it, since proxies close silent streams."""
STREAM_SECONDS = 600.0
"""Seconds of one stream at most: then its client connects again, and what it may see is checked again."""
IN_THREADS = 8
"""Answers that wait in threads of another server than the gateway's own: each occupies one."""
RETRY_AFTER = 5
"""Seconds after which a client that found no room may try again."""

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
"""A WSGI application (PEP 3333)."""


@dataclass(frozen=True)
class Piece:
    """What a feed has behind a place: bytes to send, the place behind them, and whether the feed has ended there."""

    data: bytes
    after: int
    ended: bool = False


class Feed(Protocol):
    """A numbered sequence that grows. Feeds of one class and ``key`` have the same content."""

    @property
    def key(self) -> str:
        """The name of the sequence."""

    @property
    def caller(self) -> str:
        """The name of the caller whose answer waits; "" for an anonymous one."""

    def read(self, after: int) -> Piece:
        """Return what there is behind ``after``, a limited number of bytes; no bytes for nothing new."""

    def watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake``, from any thread, whenever there may be news; return what ends that."""


class DuplexFeed(Feed, Protocol):
    """A feed whose client writes too: the frames of a WebSocket (RFC 6455). What it raises closes the connection."""

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes of the client, without waiting; an answer to them is behind the last place of the feed."""

    def keep_alive(self, now: float) -> None:
        """Ping a client to which nothing was sent for KEEP_ALIVE_SECONDS. Raises TimeoutError for a silent one."""

    def leave(self) -> None:
        """End the conversation, since the server stops."""


class WaitingServer(Protocol):
    """What the gateway's worker offers: it continues a response without a thread."""

    @property
    def full(self) -> bool:
        """True while no more answers may wait."""

    def has_share(self, caller: str) -> bool:
        """Return False while as many answers wait for one caller as may."""

    def knows(self, start_response: Any) -> bool:
        """Return True for the server's own ``start_response``; that of a middleware cannot be taken over."""

    def stream(self, environ: dict[str, Any], start_response: Any, begun: bytes, feed: Feed, after: int) -> None:
        """Send the head through ``start_response``, already called, then ``begun`` and all that ``feed`` has."""

    def converse(self, environ: dict[str, Any], start_response: Any, conversation: DuplexFeed) -> None:
        """Send the head through ``start_response``, already called, then read and write until it has ended."""

    def defer(
        self, environ: dict[str, Any], start_response: Any, resume: Application, feed: Feed, after: int, until: float
    ) -> None:
        """Send nothing until ``feed`` has ended, ``until`` (``time.monotonic``) at most; then call ``resume``."""


_in_threads = threading.BoundedSemaphore(IN_THREADS)


def stream(feed: Feed, after: int, *, begun: bytes = b"") -> flask.Response:
    """Return a response of ``begun`` and what ``feed`` has behind ``after``, until it ends.

    Raises Unavailable and TooManyRequests where as many answers wait as may, in all or for this caller.
    """
    return _StreamResponse(_watchers(feed), feed, after, begun)


def defer(feed: Feed, after: int, seconds: float, answer: Callable[[], flask.Response]) -> flask.Response:
    """Return ``answer()``, which is called once ``feed`` has ended or ``seconds`` are over. Raises as ``stream``."""
    app = flask.current_app._get_current_object()  # type: ignore[attr-defined]
    return _DeferredResponse(_watchers(feed), feed, after, time.monotonic() + seconds, partial(_answered, app, answer))


def converse(conversation: DuplexFeed, protocol: str, headers: dict[str, str]) -> flask.Response:
    """Return a response that switches to ``protocol`` (RFC 9110 15.2.2), and serves it without a thread.

    Raises Unavailable and TooManyRequests where as many answers wait as may, and Unavailable under another server.
    """
    watchers = _watchers(conversation)
    if watchers is None:
        raise Unavailable(f"This server does not speak {protocol}; use the gateway's own.", retry_after=RETRY_AFTER)
    response = _ConversationResponse(watchers, conversation, 0)
    response.status_code = 101
    response.headers.update({"Connection": "upgrade", "Upgrade": protocol} | headers)
    del response.headers["Content-Type"]
    return response


class _WaitingResponse(flask.Response):
    """A response without a length, which the server continues on its own where it can."""

    automatically_set_content_length = False

    def __init__(self, watchers: WaitingServer | None, feed: Feed, after: int) -> None:
        super().__init__()
        self._offered, self._feed, self._after = watchers, feed, after

    def _watchers(self, start_response: Any) -> WaitingServer | None:
        return self._offered if self._offered is not None and self._offered.knows(start_response) else None


class _StreamResponse(_WaitingResponse):
    def __init__(self, watchers: WaitingServer | None, feed: Feed, after: int, begun: bytes) -> None:
        super().__init__(watchers, feed, after)
        self._begun = begun

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        watchers = self._watchers(start_response)
        if watchers is None:
            self.response = _pieces(self._begun, self._feed, self._after, time.monotonic() + STREAM_SECONDS)
        body = super().__call__(environ, start_response)
        if watchers is not None:
            watchers.stream(environ, start_response, self._begun, self._feed, self._after)
        return body


class _ConversationResponse(_WaitingResponse):
    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        watchers, conversation = self._watchers(start_response), self._feed
        if watchers is None:  # a middleware stands between
            return flask.Response(status=501)(environ, start_response)
        body = super().__call__(environ, start_response)
        watchers.converse(environ, start_response, conversation)  # type: ignore[arg-type]
        return body


class _DeferredResponse(_WaitingResponse):
    def __init__(
        self, watchers: WaitingServer | None, feed: Feed, after: int, until: float, resume: Application
    ) -> None:
        super().__init__(watchers, feed, after)
        self._until, self._resume = until, resume

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        watchers = self._watchers(start_response)
        if watchers is not None:
            watchers.defer(environ, start_response, self._resume, self._feed, self._after, self._until)
            return ClosingIterator((), self.close)
        self.close()
        for _ in _pieces(b"", self._feed, self._after, self._until):
            pass
        return self._resume(environ, start_response)


def _answered(
    app: flask.Flask, answer: Callable[[], flask.Response], environ: dict[str, Any], start_response: Any
) -> Iterable[bytes]:
    """A WSGI application: a request that has passed its checks is answered, and its hooks complete the response."""
    with app.request_context(environ):
        response = app.process_response(answer())
    return response(environ, start_response)


def _watchers(feed: Feed) -> WaitingServer | None:
    """Return the worker's, where this server is the gateway's own. Raises Unavailable, TooManyRequests."""
    watchers: WaitingServer | None = getattr(flask.request.environ.get("gunicorn.socket"), "watchers", None)
    if watchers is not None and not watchers.has_share(feed.caller):
        raise TooManyRequests("As many answers wait for this caller as may; ask again later.", retry_after=RETRY_AFTER)
    if watchers is not None and watchers.full:
        raise Unavailable("As many answers wait as this server allows; ask again later.", retry_after=RETRY_AFTER)
    return watchers


def _pieces(begun: bytes, feed: Feed, after: int, until: float) -> Iterator[bytes]:
    """Yield what ``feed`` has behind ``after`` in this thread, until it ends or ``until`` (``time.monotonic``)."""
    yield begun
    if not _in_threads.acquire(blocking=False):
        return  # the client asks again
    news, unwatch = threading.Event(), _nothing
    try:
        unwatch = feed.watch(news.set)
        while time.monotonic() < until:
            news.clear()
            piece = feed.read(after)
            yield piece.data
            if piece.ended:
                return
            moved, after = piece.after != after, piece.after
            if not moved and not news.wait(min(KEEP_ALIVE_SECONDS, max(0.0, until - time.monotonic()))):
                yield KEEP_ALIVE
    finally:
        unwatch()
        _in_threads.release()


def _nothing() -> None:
    """End no subscription."""
