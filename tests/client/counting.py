"""A proxy before a server that counts bytes in each direction and may delay them."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.waiting import eventually

PIECE = 1 << 14
ENDLESS = float("inf")


@dataclass
class Wire:
    """Bytes to the server and from it; none passes beyond the allowed ones."""

    port: int
    there: int = 0
    back: int = 0
    most_there: float = ENDLESS
    most_back: float = ENDLESS
    threads: list[threading.Thread] = field(default_factory=list)
    _turn: threading.Condition = field(default_factory=threading.Condition)

    @property
    def held(self) -> bool:
        """Whether all allowed bytes have passed in one direction."""
        return self.there >= self.most_there or self.back >= self.most_back

    def pass_on(self, way: str, piece: bytes, target: socket.socket) -> None:
        """Send a piece as soon as one more may pass; unread bytes are not counted."""
        with self._turn:
            self._turn.wait_for(lambda: getattr(self, way) < getattr(self, f"most_{way}"))
        with contextlib.suppress(OSError):
            target.sendall(piece)
            with self._turn:
                setattr(self, way, getattr(self, way) + len(piece))

    def release(self) -> None:
        """Let all bytes pass, wait until those of a gone client have passed, and restart the count."""
        with self._turn:
            self.most_there = self.most_back = ENDLESS
            self._turn.notify_all()
        eventually(lambda: not any(thread.is_alive() for thread in self.threads))
        self.there = self.back = 0


@contextlib.contextmanager
def wire(port: int) -> Iterator[Wire]:
    """Forward connections to ``port`` until the block ends."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        counted, ends = Wire(listener.getsockname()[1]), [listener]

        def begin(*arguments: object) -> None:
            counted.threads.append(threading.Thread(target=move, args=arguments))
            counted.threads[-1].start()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    near = stack.enter_context(listener.accept()[0])
                    far = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                    ends.extend((near, far))
                    begin(near, far, "there")
                    begin(far, near, "back")

        def move(source: socket.socket, target: socket.socket, way: str) -> None:
            with contextlib.suppress(OSError):
                while piece := source.recv(PIECE):
                    counted.pass_on(way, piece, target)
            end(socket.SHUT_WR, target)

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield counted
        finally:
            end(socket.SHUT_RDWR, *ends)
            counted.release()
            accepting.join()


def end(how: int, *ends: socket.socket) -> None:
    """Close both ends, so that readers see the end."""
    for each in ends:
        with contextlib.suppress(OSError):
            each.shutdown(how)
