"""gunicorn's own refusals are those that docs/deploying.md lists, and the next request is answered."""

import socket

import pytest
import requests

from tests.conftest import Serve, Server
from tests.house.pages import ROOT, rows
from tests.waiting import PATIENCE

HEAD = b"POST /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
REFUSED = {
    "no request line": (400, b"GARBAGE\r\n\r\n"),
    "a header name with a space": (400, HEAD + b"X Y: 1\r\n\r\n"),
    "a length that is no number": (400, HEAD + b"Content-Length: many\r\n\r\n"),
    "a length beside chunks": (400, HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "half a head": (408, HEAD + b"X-Slow"),
    "a long request line": (414, b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n"),
    "an unknown expectation": (417, HEAD + b"Expect: wonders\r\nContent-Length: 0\r\n\r\n"),
    "many header fields": (431, HEAD + b"".join(b"X-%d: 1\r\n" % i for i in range(120)) + b"\r\n"),
    "a long header field": (431, HEAD + b"X: " + b"a" * 9000 + b"\r\n\r\n"),
    "an unknown transfer encoding": (501, HEAD + b"Transfer-Encoding: zip\r\n\r\n"),
}


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("models.app:app", GATEWAY_HEAD_TIMEOUT="1")


@pytest.mark.parametrize("case", REFUSED)
def test_gunicorn_answers_for_itself_and_lives_on(server: Server, case: str) -> None:
    status, request = REFUSED[case]
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        answer = connection.recv(4096)  # more may end in a reset, since not all that was sent is read
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" not in answer
    assert b"Traceback" not in answer
    assert requests.get(server.url + "/ping", timeout=PATIENCE).status_code == 200


def test_the_documented_refusals_are_those_that_were_tried() -> None:
    documented = {int(status) for status, _, _ in rows(ROOT / "docs/deploying.md", "status | when")}
    assert documented == {status for status, _ in REFUSED.values()}
