"""Slow clients lend their threads and places, and silent ones hold neither: others are served beside them."""

import contextlib
import shlex
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.access.certificates import Authority, named
from tests.conftest import Serve, Server
from tests.server.running import in_flight
from tests.server.test_faults import TYPE, body
from tests.server.test_isolation import AGES, LARGE, STALLED, ask, assert_probes_answer, connections, head, serves
from tests.waiting import PATIENCE, eventually

THREADS, RESERVE = 4, 2
PLACES = THREADS - RESERVE
PATIENT = {
    "GATEWAY_RESERVED_THREADS": str(RESERVE),
    "GATEWAY_HEAD_TIMEOUT": AGES,
    "GATEWAY_READ_TIMEOUT": AGES,
    "GATEWAY_RATE_GRACE": AGES,
    "GATEWAY_REQUEST_TIMEOUT": AGES,
}
"""Refuses no slow client, so that others are served beside slow ones."""


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("store")
    options = ("--threads", str(THREADS))
    return serve("tests.apps.faults:app", *options, GATEWAY_STORE_FOLDER=str(folder), **PATIENT)


def posted(path: str, media_type: str, begun: bytes) -> bytes:
    fields = f"Host: localhost\r\nContent-Type: {media_type}\r\nContent-Length: 10000000\r\n\r\n"
    return f"POST {path} HTTP/1.1\r\n{fields}".encode() + begun


PART = b"--frontier\r\n\r\n"
SLOW = {
    "an inference": STALLED,
    "a manifest": posted("/studies/manifest", "application/json", b"{"),
    "a chunk of a study": posted("/studies/instances", TYPE, PART),
    "a preflight": posted("/preflight", "application/json", b"{"),
    "a manifest of a bundle": posted("/bundles/x/manifest", "application/json", b"{"),
    "a chunk of a bundle": posted("/bundles/x/files", TYPE, PART),
    "a reader": head(len(LARGE), "/mask") + LARGE,
}


@pytest.mark.parametrize("kind", SLOW)
def test_others_are_served_beside_more_slow_clients_than_threads(server: Server, kind: str) -> None:
    with connections(server, PLACES, SLOW[kind]), connections(server, 2 * THREADS, SLOW[kind]):
        assert_probes_answer(server)
        eventually(lambda: serves(server))
        assert requests.get(server.url + "/studies", timeout=PATIENCE).status_code == 200
    eventually(lambda: serves(server))


def test_an_upload_that_lent_its_place_is_answered_whole(server: Server) -> None:
    whole = body(b"{}", b"x" * 1000)
    with connections(server, PLACES, head(len(whole)) + whole[:50]) as clients:
        eventually(lambda: in_flight(server.url) == PLACES)
        eventually(lambda: serves(server))
        for client in clients:
            client.sendall(whole[50:])
            assert client.recv(9000).startswith(b"HTTP/1.1 200 ")


def test_where_no_spare_thread_is_left_the_slowest_client_is_cut(serve: Serve) -> None:
    options = {**PATIENT, "GATEWAY_RESERVED_THREADS": "1", "GATEWAY_SPARE_THREADS": "1"}
    server = serve("tests.apps.faults:app", "--threads", "2", **options)
    slow = head(len(LARGE), "/mask") + LARGE
    with connections(server, 3, slow), connections(server, 3, STALLED):
        assert_probes_answer(server)
        eventually(lambda: ask(server).status_code in (200, 503))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def encrypted(serve: Serve, authority: Authority) -> Server:
    certificate = authority.sign(named(CN="server"), "server.pem")
    options = ("--threads", str(THREADS), "--certfile", str(certificate))
    return serve("tests.apps.faults:app", *options, **{**PATIENT, "GATEWAY_HEAD_TIMEOUT": "3"})


def ping(server: Server, authority: Authority) -> int:
    return requests.get(server.url + "/ping", verify=str(authority.path), timeout=PATIENCE).status_code


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_a_client_that_does_not_finish_its_handshake_takes_no_thread_and_is_sent_away(
    encrypted: Server, authority: Authority, sent: bytes
) -> None:
    with connections(encrypted, 3 * THREADS, sent) as clients:
        assert ping(encrypted, authority) == 200
        for client in clients:
            assert client.recv(1) == b""


@contextlib.contextmanager
def encrypted_connection(server: Server, authority: Authority) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=authority.path)
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        yield client


def test_slow_uploads_in_tls_lend_their_threads_too(encrypted: Server, authority: Authority) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(2 * THREADS):
            stack.enter_context(encrypted_connection(encrypted, authority)).sendall(STALLED)
        assert ping(encrypted, authority) == 200
        whole = body(b"{}", b"x" * 300_000)
        with encrypted_connection(encrypted, authority) as client:
            client.sendall(head(len(whole)) + whole)
            assert client.recv(9000).startswith(b"HTTP/1.1 ")


def test_requests_behind_one_another_in_tls_are_all_answered(encrypted: Server, authority: Authority) -> None:
    one = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with encrypted_connection(encrypted, authority) as client:
        client.sendall(3 * one + one.replace(b"Host: localhost", b"Host: localhost\r\nConnection: close"))
        received = b""
        while piece := client.recv(9000):
            received += piece
    assert received.count(b"HTTP/1.1 200 ") == 4


def few_files(tmp_path: Path, count: int, reserved: int) -> Server:
    """A server whose processes may open ``count`` files each."""
    serve = shlex.join([sys.executable, "-m", "gateway", "serve", "tests.apps.faults:app", "--port", "0"])
    command = ["sh", "-c", f"ulimit -n {count}; exec {serve}"]
    return Server(command, tmp_path, {"GATEWAY_RESERVED_FILES": str(reserved), "GATEWAY_HEAD_TIMEOUT": AGES})


@pytest.mark.parametrize("reserved", [150, 0])  # the system refuses connections above the limit, or they are bounded
@pytest.mark.slow
def test_more_idle_connections_than_files_make_room_for_requests(tmp_path: Path, reserved: int) -> None:
    server = few_files(tmp_path, 200, reserved)
    try:
        with connections(server, 300, b""):
            for _ in range(20):
                assert ask(server).status_code == 200
        assert server.log.count("Booting worker") == 1
        assert "Traceback" not in server.log
    finally:
        server.stop()
