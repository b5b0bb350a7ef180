"""Hostile HTTP on raw sockets: never two answers for one request, a 200 on partial data, or a stall of others."""

import contextlib
import re
import socket
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import Serve, Server
from tests.server.test_faults import TYPE, assert_serves, body
from tests.waiting import PATIENCE, eventually

DATA = body(b"{}", b"pixels" * 100)
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    ages = "3600"  # so that nothing passes because a client was sent away for being slow
    return serve(
        "tests.apps.faults:app",
        GATEWAY_READ_TIMEOUT=ages,
        GATEWAY_RATE_GRACE=ages,
        GATEWAY_REQUEST_TIMEOUT=ages,
    )


def head(*fields: str) -> bytes:
    return "\r\n".join(["POST /echo HTTP/1.1", "Host: localhost", f"Content-Type: {TYPE}", *fields, "", ""]).encode()


def chunked(data: bytes, size: int) -> bytes:
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def exchange(server: Server, sent: bytes) -> list[int]:
    """Send bytes, half-close, and return the status of each response."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(65536):
                answer += piece
    return [int(status) for status in STATUS.findall(answer)]


WHOLE = f"Content-Length: {len(DATA)}"
SMUGGLED = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
REFUSED = {
    "both lengths": head(WHOLE, "Transfer-Encoding: chunked") + DATA,
    "xchunked": head("Transfer-Encoding: xchunked") + chunked(DATA, 50),
    "chunked not last": head("Transfer-Encoding: chunked, gzip") + chunked(DATA, 50),
    "two lengths": head(WHOLE, "Content-Length: 5") + DATA,
    "folded length": head("Content-Length:", f" {len(DATA)}") + DATA,
    "negative length": head("Content-Length: -1") + DATA,
    "length no number": head("Content-Length: 0x10") + DATA,
    "length with plus": head(f"Content-Length: +{len(DATA)}") + DATA,
    "space before colon": head(f"Content-Length : {len(DATA)}") + DATA,
    "bare LF": head(WHOLE).replace(b"\r\n", b"\n") + DATA,
    "NUL in a field": head(WHOLE, "X: a\0b") + DATA,
    "chunk size no number": head("Transfer-Encoding: chunked") + b"zz\r\n" + DATA,
    "chunk size negative": head("Transfer-Encoding: chunked") + b"-5\r\n" + DATA,
    "chunk too short": head("Transfer-Encoding: chunked") + b"5\r\nabcdefgh\r\n0\r\n\r\n",
    "chunk without end": head("Transfer-Encoding: chunked") + chunked(DATA, 50)[:-5],
    "1 TiB announced": head(f"Content-Length: {1 << 40}") + DATA,
    "many fields": head(WHOLE, *[f"X-{n}: y" for n in range(1000)]) + DATA,
    "a long field": head(WHOLE, "X: " + "y" * 100_000) + DATA,
    "a long request line": b"POST /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
}


@pytest.mark.parametrize("case", REFUSED)
def test_hostile_framing_is_refused_once_and_harms_no_other(server: Server, case: str) -> None:
    answers = exchange(server, REFUSED[case])
    assert len(answers) <= 1
    assert all(400 <= status < 600 for status in answers)
    assert_serves(server)


def test_what_follows_an_ambiguous_request_is_never_answered(server: Server) -> None:
    for case in ("both lengths", "two lengths", "xchunked", "chunk too short"):
        assert len(exchange(server, REFUSED[case] + SMUGGLED)) <= 1


@pytest.mark.parametrize("size", [9 << 30, (1 << 64) - 1, 1 << 4000])
def test_a_chunk_larger_than_a_body_may_be_is_refused_at_its_head(server: Server, size: int) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as client:
        client.sendall(head("Transfer-Encoding: chunked") + b"%x\r\n" % size + DATA)
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_chunks_of_one_byte_are_read(server: Server) -> None:
    data = body(b"{}", bytes(300_000))
    assert exchange(server, head("Transfer-Encoding: chunked") + chunked(data, 1)) == [200]


def test_pipelined_requests_are_answered_each_once_and_in_order(server: Server) -> None:
    one = head(WHOLE) + DATA
    assert exchange(server, one + SMUGGLED + one) == [200, 200, 200]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_request_cut_anywhere_is_never_answered_200(server: Server, framing: str) -> None:
    whole = head(WHOLE) + DATA if framing == "length" else head("Transfer-Encoding: chunked") + chunked(DATA, 50)
    for cut in [*range(0, len(whole) - 1, 23), len(whole) - 1, len(whole) - 2]:
        assert 200 not in exchange(server, whole[:cut])
    assert exchange(server, whole) == [200]


def test_200_slow_uploads_do_not_stop_the_probes(server: Server) -> None:
    address = urlsplit(server.url)
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(socket.create_connection((address.hostname, address.port)))
            client.sendall(head(WHOLE) + DATA[:50])
        for _ in range(5):
            assert requests.get(server.url + "/ping", timeout=PATIENCE).status_code == 200
    eventually(lambda: exchange(server, head(WHOLE) + DATA) == [200])
