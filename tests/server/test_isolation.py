"""Slow and hostile clients cost others nothing: probes answer, places become free, refusals arrive."""

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import Serve, Server
from tests.server.running import in_flight
from tests.server.test_faults import TYPE, body, post
from tests.waiting import PATIENCE, eventually

THREADS, RESERVE = 4, 2
AGES = "3600"
"""Seconds of which no test sees the end."""


def serving(serve: Serve, head: str, read: str, grace: str) -> Server:
    return serve(
        "tests.apps.faults:app",
        *("--threads", str(THREADS)),
        GATEWAY_RESERVED_THREADS=str(RESERVE),
        GATEWAY_HEAD_TIMEOUT=head,
        GATEWAY_READ_TIMEOUT=read,
        GATEWAY_RATE_GRACE=grace,
        GATEWAY_MIN_RATE="100000",
        GATEWAY_REQUEST_TIMEOUT=AGES,
        GATEWAY_SPARE_THREADS="0",  # a slow client keeps its thread and its place
    )


@pytest.fixture(scope="module")
def patient(serve: Serve) -> Server:
    """Refuses no slow client, so that others are served beside slow ones."""
    return serving(serve, AGES, AGES, AGES)


@pytest.fixture(scope="module")
def strict(serve: Serve) -> Server:
    """Refuses slow clients; its times are long enough for an honest client on a busy machine."""
    return serving(serve, "3", "3", "2")


@contextlib.contextmanager
def connections(server: Server, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    address = urlsplit(server.url)
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=PATIENCE))
            for _ in range(count)
        ]
        for client in clients:
            client.sendall(sent)
        yield clients


def head(length: int, route: str = "/echo") -> bytes:
    return (
        f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {TYPE}\r\nContent-Length: {length}\r\n\r\n".encode()
    )


def assert_probes_answer(server: Server) -> None:
    for path in ("/ping", "/healthcheck"):
        assert requests.get(server.url + path, timeout=PATIENCE).status_code == 200


def ask(server: Server) -> requests.Response:
    return post(server, "/echo", body(b"{}"))


def serves(server: Server) -> bool:
    return ask(server).status_code == 200


def test_probes_answer_while_many_clients_hold_half_a_request_line(patient: Server) -> None:
    with connections(patient, 50, b"GET /pi") as clients:
        assert_probes_answer(patient)
        for client in clients:
            client.sendall(b"ng HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_who_holds_half_a_request_line_is_sent_away_in_time(strict: Server) -> None:
    with connections(strict, 50, b"GET /pi") as clients:
        for client in clients:
            assert client.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_head_may_arrive_byte_by_byte(patient: Server) -> None:
    with connections(patient, 1, b"") as (client,):
        for octet in b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n":
            client.sendall(bytes([octet]))
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


STALLED = head(1000) + b"--frontier"


def test_stalled_uploads_leave_threads_for_probes_and_refusals(patient: Server) -> None:
    with connections(patient, THREADS - RESERVE, STALLED):
        eventually(lambda: in_flight(patient.url) == THREADS - RESERVE)
        assert_probes_answer(patient)
        refused = ask(patient)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
    eventually(lambda: serves(patient))


def test_stalled_uploads_are_cut(strict: Server) -> None:
    with connections(strict, THREADS - RESERVE, STALLED) as clients:
        for client in clients:
            assert client.recv(100).startswith(b"HTTP/1.1 408 ")
        eventually(lambda: serves(strict))


def test_a_trickling_upload_is_cut_by_the_minimum_rate(serve: Serve) -> None:
    server = serving(serve, AGES, AGES, "1")
    began = time.monotonic()
    with connections(server, 1, head(1_000_000) + b"--frontier\r\n") as (client,), contextlib.suppress(ConnectionError):
        eventually(lambda: _trickled(client))
    assert time.monotonic() - began >= 1


def _trickled(client: socket.socket) -> bool:
    """Send one more byte; return whether the response has arrived."""
    client.sendall(b"X")
    return bool(select.select([client], [], [], 0)[0]) and client.recv(100).startswith(b"HTTP/1.1 408 ")


LARGE = body(b'{"shape": [64, 1024, 1024]}')


def test_a_client_that_does_not_take_its_answer_leaves_threads_for_the_others(patient: Server) -> None:
    with connections(patient, THREADS - RESERVE, head(len(LARGE), "/mask") + LARGE) as clients:
        for client in clients:
            assert client.recv(1, socket.MSG_PEEK)  # its answer has begun
        assert_probes_answer(patient)
        assert not serves(patient)
    eventually(lambda: serves(patient))


def test_a_client_that_does_not_take_its_answer_is_cut(strict: Server) -> None:
    with connections(strict, THREADS - RESERVE, head(len(LARGE), "/mask") + LARGE) as clients:
        for client in clients:
            assert client.recv(1, socket.MSG_PEEK)
        eventually(lambda: serves(strict))


@pytest.mark.parametrize("sent", [head(1000), head(1000) + b"--fron", head(100_000_000) + b"--frontier\r\n\r\n{}" * 9])
def test_a_client_that_leaves_frees_its_place_at_once(patient: Server, sent: bytes) -> None:
    with connections(patient, THREADS - RESERVE, sent):
        eventually(lambda: in_flight(patient.url) == THREADS - RESERVE)
        assert not serves(patient)
    eventually(lambda: serves(patient))


def test_a_refused_client_that_is_still_writing_gets_the_refusal(serve: Serve) -> None:
    server = serve("tests.apps.faults:app", GATEWAY_MAX_BODY_BYTES="1000000")
    with connections(server, 1, head(50_000_000)) as (client,):
        client.sendall(bytes(50_000_000))
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_beyond_the_budget_of_the_process_gets_a_retry_after(serve: Serve) -> None:
    server = serve("tests.apps.faults:app", GATEWAY_MAX_BYTES_IN_FLIGHT="1000000")
    refused = post(server, "/echo", body(b"{}", bytes(2_000_000)))
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert serves(server)
