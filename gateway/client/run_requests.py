"""Requests about runs: submission, the look at one, and its events."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import requests

from gateway.client.catalog import Record, pages, safe
from gateway.client.errors import ClientError, Refused
from gateway.client.event_stream import StreamedEvent, read_events
from gateway.client.inference_requests import ACCEPT, encoded
from gateway.client.transport import Outage, Transport, json_object
from gateway.client.upload_body import PIECE

POLL = 50.0
"""Seconds of one long poll; the server shortens it to ``GATEWAY_RUN_WAIT``."""
HEARTBEAT = 45.0
"""Seconds without a byte after which a stream of events counts as broken; the server sends one every 15."""
NO_MORE = 204
"""The status of a stream for a run that has ended, and whose last event the client has."""
GONE = ("run-not-found", "run-gone")

MakeBody = Callable[[], dict[str, Any]]
"""Makes the ``data`` and ``headers`` of one try."""


@dataclass(frozen=True)
class RunRequests:
    """The requests about runs of one transport. All methods raise ClientError."""

    transport: Transport

    def submit(self, id: str, route: str, body: MakeBody, webhook: str, timeout: float | None) -> Record:
        """Submit a run under an id of its own, so that a broken connection is repeated safely."""
        named = {"Accept": ACCEPT} | ({"Webhook": webhook} if webhook else {})
        options: dict[str, Any] = {"params": {"route": route}, "timeout": timeout, "accepted": (200, 201)}

        def once() -> Record:
            made = body()
            headers = made.pop("headers") | named
            with self.transport.response("PUT", _path(id), headers=headers, **made, **options) as response:
                return json_object(response)

        return self.transport.retried(once)

    def read(self, id: str) -> Record:
        """Return the run as it is."""
        return self._object("GET", id)

    def wait(self, id: str, after: int, seconds: float) -> Record:
        """Return the run once its state has changed since the event ``after``, or once the time is over."""
        turn = min(seconds, POLL)
        return self._object("GET", id, params={"wait": f"{turn:.3f}", "after": after}, silence=turn + HEARTBEAT)

    def cancel(self, id: str) -> Record:
        """Ask a live run to end."""
        return self._object("DELETE", id, params={"only": "live"}, accepted=(202,))

    def forget(self, id: str) -> None:
        """Forget an ended run. After a broken connection the retry may not find it: it is gone then."""

        def once() -> None:
            with self.transport.response("DELETE", _path(id), params={"only": "ended"}, accepted=(204,)):
                pass

        try:
            self.transport.retried(once)
        except Refused as error:
            if error.code not in GONE:
                raise

    def reply(self, id: str, words: Mapping[str, Any], question: int | None) -> Record:
        """Answer the question of a run, by its number where it is known; not repeated, since the first may arrive."""
        options: dict[str, Any] = {"data": encoded(words), "headers": {"Content-Type": "application/json"}}
        options |= {"params": {"question": question}} if question else {}
        with self.transport.response("POST", f"{_path(id)}/input", accepted=(202,), **options) as response:
            return json_object(response)

    def list(self, wanted: Mapping[str, str], limit: int | None) -> Iterator[Record]:
        """Yield runs, the newest first."""
        return pages(self.transport, "/runs", "runs", wanted, limit)

    def events(self, id: str, after: int) -> Iterator[StreamedEvent]:
        """Yield the events after number ``after`` until the run ends; a broken stream continues where it broke."""
        outage = Outage(self.transport)
        while True:
            try:
                with self._stream(id, after) as response:
                    if response.status_code == NO_MORE:
                        return
                    for event in read_events(_pieces(response)):
                        outage.end()
                        after = max(after, event.sequence)
                        yield event
                        if event.ends:
                            return
                outage.pause()
            except ClientError as error:
                outage.bear(error)

    def _stream(self, id: str, after: int) -> AbstractContextManager[requests.Response]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        path = f"{_path(id)}/events"
        return self.transport.response("GET", path, headers=headers, accepted=(200, NO_MORE), silence=HEARTBEAT)

    def _object(self, method: str, id: str, **options: Any) -> Record:
        def once() -> Record:
            with self.transport.response(method, _path(id), **options) as response:
                return json_object(response)

        return self.transport.retried(once)


def _path(id: str) -> str:
    return f"/runs/{safe(id)}"


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the bytes of a response as they arrive; without chunks a longer read waits until it is full."""
    chunked = getattr(response.raw, "chunked", False)
    pieces: Iterator[bytes] = response.iter_content(PIECE if chunked else 1)
    return pieces
