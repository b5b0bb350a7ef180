"""The floor: a bare socket that discards a body and sends a mask. No server can be faster."""

import socket
import sys

from benchmarks import servers

RECEIVE = 1 << 20


def serving(size: int) -> servers.Serving:
    """A floor that answers ``size`` bytes."""
    return servers.run([sys.executable, "-m", "benchmarks.floor", str(size)])


def main(size: int) -> None:
    """Serve one connection after the other, until killed."""
    mask, sink = b"\x01" * size, bytearray(RECEIVE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"Listening at: 127.0.0.1:{listener.getsockname()[1]}\n")
        while True:
            connection, _ = listener.accept()
            with connection:
                _take(connection, sink)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                connection.sendall(mask)


def _take(connection: socket.socket, sink: bytearray) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(RECEIVE)
    start = head.index(b"\r\n\r\n") + 4
    left = int(head.lower().split(b"content-length:")[1].split()[0]) - (len(head) - start)
    while left > 0:
        left -= connection.recv_into(sink)


if __name__ == "__main__":
    main(int(sys.argv[1]))
