"""A small HTTP server that answers as a test defines, invalid responses included. toolbelt encodes its answers."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from requests_toolbelt import MultipartDecoder, MultipartEncoder

Headers = dict[str, str]


@dataclass(frozen=True)
class Heard:
    """One received request: its path, its header and its whole body."""

    path: str
    headers: Headers
    body: bytes

    @property
    def parts(self) -> list[bytes]:
        return [part.content for part in MultipartDecoder(self.body, self.headers["Content-Type"]).parts]

    @property
    def names(self) -> list[bytes]:
        parts = MultipartDecoder(self.body, self.headers["Content-Type"]).parts
        return [part.headers[b"Content-Disposition"] for part in parts]


@dataclass(frozen=True)
class Said:
    """One response to send: ``length`` lets Content-Length announce more than is sent."""

    body: bytes
    content_type: str = "text/plain"
    status: int = 200
    headers: Headers = field(default_factory=dict)
    length: int | None = None


Script = Callable[[Heard], Said]


def answer(
    request: Heard,
    json_part: Any,
    buffers: Sequence[tuple[str, bytes]] = (),
    *,
    hashes: str | None = None,
    damage: Callable[[bytes], bytes] = lambda body: body,
) -> Said:
    """An answer in the form of protocol 1.0; ``hashes`` and ``damage`` make it invalid."""
    text = json_part if isinstance(json_part, bytes) else json.dumps(json_part).encode()
    honest = ":".join(
        hashlib.sha256(b"".join(contents)).hexdigest()
        for contents in (request.parts, [text, *(data for _, data in buffers)])
    )
    encoder = MultipartEncoder(
        [
            ("json-body", ("json-body", text, "application/json")),
            *((f"elem_{i}", (f"elem_{i}", data, media_type)) for i, (media_type, data) in enumerate(buffers)),
            ("hashes", ("hashes", honest if hashes is None else hashes, "text/plain")),
        ]
    )
    return Said(damage(encoder.to_string()), f"multipart/related; boundary={encoder.boundary_value}")


def problem(status: int, **members: Any) -> Said:
    """An error answer (RFC 9457)."""
    return Said(json.dumps({"status": status, **members}).encode(), "application/problem+json", status)


@contextmanager
def listening(script: Script) -> Iterator[str]:
    """A server on a free port that answers every request by ``script``; yields its URL."""

    class Handler(_Quiet):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.say(script(Heard(self.path, dict(self.headers), body)))

        do_GET = do_POST

    with _running(Handler) as url:
        yield url


@contextmanager
def draining() -> Iterator[str]:
    """A server that lets a body go by, however large, and answers for an empty one."""

    class Handler(_Quiet):
        def do_POST(self) -> None:
            left = int(self.headers["Content-Length"])
            while left:
                left -= len(self.rfile.read(min(left, 1 << 18)))
            self.say(answer(Heard("", {"Content-Type": "multipart/x; boundary=x"}, b"--x\r\n\r\n\r\n--x--\r\n"), {}))

    with _running(Handler) as url:
        yield url


class _Quiet(BaseHTTPRequestHandler):
    def say(self, response: Said) -> None:
        length = len(response.body) if response.length is None else response.length
        headers = {"Content-Type": response.content_type, "Content-Length": str(length), **response.headers}
        self.send_response(response.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def _running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
