"""A link of limited bandwidth in front of a server on this machine, with one token bucket for each direction."""

import contextlib
import socket
import sys
import threading
import time

from benchmarks import servers

PIECE = 64 << 10
"""Bytes moved at once, 5 ms of a link of 100 Mbit/s."""


def before(port: int, megabits: float) -> servers.Serving:
    """Put the server on ``port`` behind a link of ``megabits`` (10 ** 6 bits) a second."""
    return servers.run([sys.executable, "-m", "benchmarks.link", str(port), str(megabits)])


class Bucket:
    """Token bucket of all connections in one direction."""

    def __init__(self, megabits: float) -> None:
        self._per_byte = 8 / (megabits * 1e6)
        self._free_at = 0.0
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Wait until ``count`` bytes may pass."""
        with self._lock:
            now = time.perf_counter()
            self._free_at = max(self._free_at, now) + count * self._per_byte
            wait = self._free_at - now
        time.sleep(wait)


def main(port: int, megabits: float) -> None:
    """Forward connections, until killed."""
    there, back = Bucket(megabits), Bucket(megabits)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        sys.stdout.write(f"Listening at: 127.0.0.1:{listener.getsockname()[1]}\n")
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", port))
            for source, target, bucket in ((near, far, there), (far, near, back)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_move, args=(source, target, bucket), daemon=True).start()


def _move(source: socket.socket, target: socket.socket, bucket: Bucket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            bucket.take(len(piece))
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
