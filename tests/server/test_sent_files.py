"""Files sent by sendfile: all bytes in their order, within the limits on slow peers, and none where a file is short."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import Settings
from gateway.server.rate_limited_socket import RateLimitedSocket

SIZE = 3 << 20


@pytest.fixture
def pair() -> Iterator[tuple[RateLimitedSocket, socket.socket]]:
    ours, peer = socket.socketpair()
    with RateLimitedSocket(fileno=ours.detach()) as sender, peer:
        sender.settings = Settings(read_timeout=0.2)
        sender.setblocking(True)
        yield sender, peer


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(bytes(range(256)) * (SIZE // 256))
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_a_part_of_a_file_arrives_between_other_bytes(pair: tuple[RateLimitedSocket, socket.socket], file: int) -> None:
    sender, peer = pair
    received = bytearray()

    def read() -> None:
        while data := peer.recv(1 << 16):
            received.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    sender.sendall(b"before")
    sender.send_file(file, 256, SIZE - 512)
    sender.sendall(b"after")
    sender.close()
    reader.join()
    assert received == b"before" + bytes(range(256)) * (SIZE // 256 - 2) + b"after"


def test_a_peer_that_reads_nothing_ends_it(pair: tuple[RateLimitedSocket, socket.socket], file: int) -> None:
    with pytest.raises(ConnectionAbortedError):
        pair[0].send_file(file, 0, SIZE)


def test_a_file_that_ends_early_ends_it(pair: tuple[RateLimitedSocket, socket.socket], file: int) -> None:
    with pytest.raises(ValueError, match="ended"):
        pair[0].send_file(file, SIZE - 10, 20)
