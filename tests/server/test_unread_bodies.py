"""An answer that leaves before its request's body has arrived says that it closes; others keep their connection."""

import http.client
import socket
import threading

import pytest

from tests.conftest import Serve, Server
from tests.server.test_faults import TYPE, body
from tests.waiting import PATIENCE

LARGE = 32 << 20
"""Bytes, more than the buffers of both sockets hold."""
PATHS = {"/nowhere": 404, "/echo": 415, "/ping": 200}
"""Paths that read no text, with their answers."""
FRAMINGS = {"length": f"Content-Length: {LARGE}", "chunked": "Transfer-Encoding: chunked"}


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("tests.apps.faults:app")


def head(path: str, *fields: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: text/plain", *fields, "", ""]
    return "\r\n".join(lines).encode()


def read(connection: socket.socket) -> http.client.HTTPResponse:
    """The next response, its body included."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("path", PATHS)
def test_an_early_answer_announces_that_it_closes_and_its_client_may_send_on(
    server: Server, path: str, framing: str
) -> None:
    begun, rest = bytes(100_000), bytes(LARGE - 100_000)
    if framing == "chunked":
        begun, rest = b"%x\r\n%b" % (LARGE, begun), rest + b"\r\n0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(head(path, FRAMINGS[framing]) + begun)
        response = read(connection)
        assert (response.status, response.headers["Connection"]) == (PATHS[path], "close")
        connection.sendall(rest)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_a_refusal_is_read_by_a_client_that_sends_all_of_its_body_first(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        request = head("/nowhere", FRAMINGS["length"]) + bytes(LARGE)
        sender = threading.Thread(target=connection.sendall, args=[request])
        sender.start()
        sender.join()
        assert (read(connection).status, connection.recv(1)) == (404, b"")


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("path", PATHS)
def test_a_request_whose_unread_body_has_arrived_keeps_its_connection(server: Server, path: str, framing: str) -> None:
    fields, data = ("Content-Length: 500", bytes(500))
    if framing == "chunked":
        fields, data = "Transfer-Encoding: chunked", b"1f4\r\n%b\r\n0\r\n\r\n" % data

    def kept() -> bool:
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
            for _ in range(3):
                connection.sendall(head(path, fields) + data)
                response = read(connection)
                assert response.status == PATHS[path]
                if response.headers["Connection"] != "keep-alive":
                    return False
        return True

    assert any(kept() for _ in range(20)), "a busy machine misses DRAIN_TIME now and then, and not each time"


def test_an_answer_keeps_its_connection_after_a_refusal(server: Server) -> None:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    for data, status in ((body(b"{}", b"abc"), 200), (b"--b\r\n", 400), (body(b"{}", b"abc"), 200)):
        client.request("POST", "/echo", data, {"Content-Type": TYPE})
        response = client.getresponse()
        response.read()
        assert (response.status, response.will_close) == (status, False)
    client.close()


def test_an_answer_whose_unread_body_is_malformed_closes_its_connection(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(head("/nowhere", "Transfer-Encoding: chunked") + b"no size\r\n" + head("/ping") * 2)
        response = read(connection)
        assert (response.status, response.headers["Connection"]) == (404, "close")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
