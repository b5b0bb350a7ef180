"""A cheap client: one thread sends prepared bytes while another receives into a reused buffer."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

TIMEOUT = 300.0
SMALL = 1 << 16
"""Bytes of a request that fit into the kernel's buffers: sent at once, without a thread."""
END_OF_HEAD = b"\r\n\r\n"


class Sendable(Protocol):
    """A request, ready to be sent."""

    @property
    def head(self) -> bytes:
        """Request line and header fields, with the empty line that ends them."""

    @property
    def pieces(self) -> list[bytes]:
        """The body."""


@dataclass(frozen=True)
class Answer:
    """An answer in ``seconds`` from connecting to its last byte; ``body`` is valid until the client's next request."""

    status: int
    headers: dict[str, str]
    body: memoryview
    seconds: float


class Client:
    """Client of a server on this machine. ``keep_alive`` uses one connection for all its requests."""

    def __init__(self, port: int, *, keep_alive: bool = False) -> None:
        self._port = port
        self._keep_alive = keep_alive
        self._socket: socket.socket | None = None
        self._sink = bytearray(SMALL)

    def post(self, request: Sendable) -> Answer:
        """Send one request and receive its answer. Raises OSError where no answer arrives."""
        started = time.perf_counter()
        connection = self._connect()
        with _sending(connection, request):
            answer = self._receive(connection, started)
        if not self._keep_alive or answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _receive(self, connection: socket.socket, started: float) -> Answer:
        filled, end = 0, -1
        while end < 0:
            filled += self._fill(connection, filled)
            end = self._sink.find(END_OF_HEAD, 0, filled)
        status, headers = _parse(bytes(self._sink[:end]))
        start = end + len(END_OF_HEAD)
        stop = start + int(headers["content-length"])
        if len(self._sink) < stop:
            self._sink = self._sink + bytearray(stop - len(self._sink))
        while filled < stop:
            filled += self._fill(connection, filled)
        return Answer(status, headers, memoryview(self._sink)[start:stop], time.perf_counter() - started)

    def _fill(self, connection: socket.socket, filled: int) -> int:
        with memoryview(self._sink) as view:
            count = connection.recv_into(view[filled:])
        if not count:
            self.close()
            raise ConnectionError("the server closed the connection in the middle of an answer")
        return count


@contextlib.contextmanager
def _sending(connection: socket.socket, request: Sendable) -> Iterator[None]:
    if sum(map(len, request.pieces)) < SMALL:
        connection.sendall(b"".join((request.head, *request.pieces)))
        yield
        return
    sender = threading.Thread(target=_send, args=(connection, request), daemon=True)
    sender.start()
    try:
        yield
    finally:
        sender.join()


def _send(connection: socket.socket, request: Sendable) -> None:
    # a refusal that comes early ends the sending; the answer, or its absence, tells the caller
    with contextlib.suppress(OSError):
        connection.sendall(request.head)
        for piece in request.pieces:
            connection.sendall(piece)


def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.strip().lower(): value.strip() for name, _, value in fields}
