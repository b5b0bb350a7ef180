"""Receivers of webhooks: real servers over HTTP and HTTPS that answer as a test says, and remember what arrived."""

import json
import socketserver
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Receiver:
    """``answers`` are the next statuses with their headers, 204 once they are used up; ``received`` what arrived."""

    port: int = 0
    scheme: str = "http"
    answers: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    """Cleared, requests wait in the receiver."""

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.received]


@contextmanager
def receiving(certificate: Path | None = None) -> Iterator[Receiver]:
    """Run a receiver on a free port of 127.0.0.1; with a certificate it speaks TLS."""
    receiver = Receiver(scheme="https" if certificate else "http")
    receiver.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.received.append((self.path, dict(self.headers), body))
            receiver.gate.wait()
            status, headers = receiver.answers.popleft() if receiver.answers else (204, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), Handler), certificate) as receiver.port:
        yield receiver
        receiver.gate.set()


@contextmanager
def trickling(beginning: bytes) -> Iterator[int]:
    """Run a server that sends ``beginning``, and then a byte whenever it may, without an end; yields its port."""
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            piece = beginning
            while not over.is_set():
                try:
                    self.request.sendall(piece)
                except OSError:
                    return
                piece = b"x"
                over.wait(0.01)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with _running(server, None) as port:
        yield port
        over.set()


@contextmanager
def _running(server: socketserver.TCPServer, certificate: Path | None) -> Iterator[int]:
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
