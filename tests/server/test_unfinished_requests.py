"""Requests whose body or head does not arrive: each gets a whole response, and none waits for unannounced bytes."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.conftest import Serve, Server
from tests.waiting import PATIENCE

POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: multipart/related; boundary=x\r\n"


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("tests.apps.faults:app", GATEWAY_READ_TIMEOUT="1", GATEWAY_RATE_GRACE="0.5")


def pieces(server: Server, request: bytes, half_close: bool) -> Iterator[bytes]:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(request)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65536):
            yield piece


def answer(server: Server, request: bytes, *, half_close: bool = False) -> tuple[int, bytes]:
    """The status and the body of the response, whose length must be the announced one."""
    head, _, body = b"".join(pieces(server, request, half_close)).partition(b"\r\n\r\n")
    (length,) = [int(line[15:]) for line in head.splitlines() if line.lower().startswith(b"content-length:")]
    assert len(body) == length
    return int(head.split()[1]), body


def test_a_post_that_announces_no_body_is_answered_without_waiting_for_one(server: Server) -> None:
    status, body = answer(server, POST + b"\r\n")
    assert (status, json.loads(body)["type"]) == (400, "urn:gateway:problem:broken-body")


def test_a_client_that_stalls_gets_a_whole_problem(server: Server) -> None:
    status, body = answer(server, POST + b"Content-Length: 100\r\n\r\n--x\r\n")
    assert (status, json.loads(body)["type"]) == (408, "urn:gateway:problem:request-stalled")


def test_a_malformed_head_is_answered_though_its_client_sends_no_more(server: Server) -> None:
    assert answer(server, b"GET /ping HTTP/1.1\nHost: x\n\n", half_close=True)[0] == 400
