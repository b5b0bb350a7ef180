"""Latency of ``/ping`` under load, measured in a process of its own with a new connection for each ping."""

import contextlib
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.servers import ROOT

RATE = 20
"""Pings a second."""
PATIENCE = 30.0
"""Seconds after which a ping counts as lost, with this latency."""
REQUEST = b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


@contextlib.contextmanager
def during(port: int) -> Iterator[list[float]]:
    """Ping while the block lasts; at its end the list has the latencies in seconds."""
    found: list[float] = []
    command = [sys.executable, "-m", "benchmarks.pings", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first ping: it runs
        try:
            yield found
        finally:
            found += map(float, process.communicate()[0].split())


def main(port: int) -> None:
    """Print one latency a line, in seconds, until standard input ends."""
    due = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        sys.stdout.write(f"{_ping(port):.6f}\n")
        sys.stdout.flush()
        due = max(due + 1 / RATE, time.monotonic())


def _ping(port: int) -> float:
    started = time.perf_counter()
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(REQUEST)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError:
        return PATIENCE
    return time.perf_counter() - started if answer.startswith(b"HTTP/1.1 200") else PATIENCE


if __name__ == "__main__":
    main(int(sys.argv[1]))
