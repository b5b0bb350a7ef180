"""Slow and hostile clients cost the others nothing: probes answer, places come free, refusals arrive."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import Serve, Server
from tests.server.test_faults import TYPE, body, post

THREADS, RESERVE = 4, 2


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve(
        "tests.apps.faults:app",
        *("--threads", str(THREADS)),
        GATEWAY_RESERVED_THREADS=str(RESERVE),
        GATEWAY_HEAD_TIMEOUT="2",
        GATEWAY_READ_TIMEOUT="2",
        GATEWAY_RATE_GRACE="1",
        GATEWAY_MIN_RATE="100000",
    )


@contextlib.contextmanager
def connections(server: Server, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    address = urlsplit(server.url)
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=20))
            for _ in range(count)
        ]
        for client in clients:
            client.sendall(sent)
        yield clients


def head(length: int, route: str = "/echo") -> bytes:
    return f"POST {route} HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\nContent-Length: {length}\r\n\r\n".encode()


def assert_probes_answer(server: Server) -> None:
    for path in ("/ping", "/healthcheck"):
        assert requests.get(server.url + path, timeout=1.5).status_code == 200


def eventually(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def serves(server: Server) -> bool:
    return post(server, "/echo", body(b"{}")).status_code == 200


def test_probes_answer_while_many_clients_hold_half_a_request_line(server: Server) -> None:
    with connections(server, 50, b"GET /pi") as clients:
        assert_probes_answer(server)
        assert clients[0].recv(100).startswith(b"HTTP/1.1 408 ")  # and each is sent away in time


def test_a_head_may_come_byte_by_byte(server: Server) -> None:
    with connections(server, 1, b"") as (client,):
        for octet in b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n":
            client.sendall(bytes([octet]))
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_stalled_uploads_leave_threads_for_probes_and_refusals_and_are_cut(server: Server) -> None:
    with connections(server, THREADS - RESERVE, head(1000) + b"--frontier") as clients:
        time.sleep(0.3)
        assert_probes_answer(server)
        refused = post(server, "/echo", body(b"{}"))
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert clients[0].recv(100).startswith(b"HTTP/1.1 408 ")
    eventually(lambda: serves(server))


def test_a_trickling_upload_is_cut_by_the_minimum_rate(server: Server) -> None:
    with connections(server, 1, head(1_000_000) + b"--frontier\r\n") as (client,):
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 15 and b"408" not in _arrived(client):
                client.sendall(b"X")
                time.sleep(0.05)
        assert 1 <= time.monotonic() - began < 10


def _arrived(client: socket.socket) -> bytes:
    try:
        return client.recv(100, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    except BlockingIOError:
        return b""


def test_a_client_that_does_not_take_its_answer_is_cut(server: Server) -> None:
    data = body(b'{"shape": [64, 1024, 1024]}')
    with connections(server, THREADS - RESERVE, head(len(data), "/mask") + data):
        time.sleep(0.5)
        assert_probes_answer(server)
        assert not serves(server)
        eventually(lambda: serves(server))


@pytest.mark.parametrize("sent", [head(1000), head(1000) + b"--fron", head(100_000_000) + b"--frontier\r\n\r\n{}" * 9])
def test_a_client_that_leaves_frees_its_place_at_once(server: Server, sent: bytes) -> None:
    with connections(server, THREADS - RESERVE, sent):
        time.sleep(0.2)
    eventually(lambda: serves(server), seconds=1.5)


def test_a_refused_client_that_is_still_writing_gets_the_refusal(serve: Serve) -> None:
    server = serve("tests.apps.faults:app", GATEWAY_MAX_BODY_BYTES="1000000")
    with connections(server, 1, head(50_000_000)) as (client,):
        client.sendall(bytes(50_000_000))
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_beyond_the_budget_of_the_process_is_told_to_come_again(serve: Serve) -> None:
    server = serve("tests.apps.faults:app", GATEWAY_MAX_BYTES_IN_FLIGHT="1000000")
    refused = post(server, "/echo", body(b"{}", bytes(2_000_000)))
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert serves(server)
