"""Clients that watch the events of one run, in a process of their own: each reads what is sent to it."""

import contextlib
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.servers import ROOT

REQUEST = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
EVENT = b"\nevent: "


@contextlib.contextmanager
def watching(port: int, path: str, count: int) -> Iterator[list[int]]:
    """Let ``count`` clients watch while the block lasts; at its end the list has the number of events of each."""
    events: list[int] = []
    command = [sys.executable, "-m", "benchmarks.audience", str(port), path, str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # all have had a first event
        try:
            yield events
        finally:
            events += map(int, process.communicate()[0].split())


def main(port: int, path: str, count: int) -> None:
    """Print a line once all watch, and the number of events of each once standard input ends."""
    selector, events = selectors.DefaultSelector(), dict[socket.socket, int]()
    selector.register(sys.stdin, selectors.EVENT_READ)
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(REQUEST % path.encode())
        received = b""
        while EVENT not in received:
            received += client.recv(1 << 16)
        events[client] = received.count(EVENT)
        selector.register(client, selectors.EVENT_READ)
    sys.stdout.write("all watch\n")
    sys.stdout.flush()
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                sys.stdout.write(" ".join(map(str, events.values())))
                return
            assert isinstance(key.fileobj, socket.socket)
            events[key.fileobj] += key.fileobj.recv(1 << 16).count(EVENT)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
