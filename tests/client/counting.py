"""A wire of a known speed in front of a server, which counts what goes through it in each direction."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PIECE = 1 << 14


@dataclass
class Wire:
    """Bytes that have gone to the server, and that have come from it."""

    port: int
    there: int = 0
    back: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, way: str, size: int) -> None:
        with self._lock:
            setattr(self, way, getattr(self, way) + size)

    def settle(self) -> None:
        """Wait until what a client has left behind is through."""
        before = None
        while before != (self.there, self.back):
            before = self.there, self.back
            time.sleep(0.3)


@contextlib.contextmanager
def wire(port: int, bytes_a_second: float) -> Iterator[Wire]:
    """Forward connections to ``port`` until the block ends, each at this speed."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        counted, threads, ends = Wire(listener.getsockname()[1]), list[threading.Thread](), [listener]

        def begin(work: Callable[..., None], *given: object) -> None:
            threads.append(threading.Thread(target=work, args=given))
            threads[-1].start()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    near = stack.enter_context(listener.accept()[0])
                    far = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                    ends.extend((near, far))
                    begin(move, near, far, "there")
                    begin(move, far, near, "back")

        def move(source: socket.socket, target: socket.socket, way: str) -> None:
            with contextlib.suppress(OSError):
                while piece := source.recv(PIECE):
                    target.sendall(piece)
                    counted.count(way, len(piece))
                    time.sleep(len(piece) / bytes_a_second)
            end(source, target)

        begin(accept)
        try:
            yield counted
        finally:
            end(*ends)
            for thread in threads:
                thread.join()


def end(*ends: socket.socket) -> None:
    """Let whoever waits for these see their end."""
    for each in ends:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
