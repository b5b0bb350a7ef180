"""Answers that wait under the gateway's worker, plain and in TLS: without a thread, bounded, never lost."""

import contextlib
import http.client
import json
import re
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.access.certificates import Authority, named
from tests.conftest import Server
from tests.waiting import PATIENCE, eventually

THREADS = 4
WATCHERS = 30
READ_TIMEOUT = 2
COMMAND = (
    *(sys.executable, "-m", "gunicorn", "-c", "python:gateway.gunicorn_conf", "--bind", "127.0.0.1:0"),
    *(
        "--threads",
        str(THREADS),
        "--worker-connections",
        str(WATCHERS + 2),
        "--access-logfile",
        "-",
        "--access-logformat",
        "ACCESS %(U)s %(s)s %(b)s",
    ),
)
SCHEMES = ["http", pytest.param("https", marks=pytest.mark.slow)]


class Clients:
    """Clients of one server."""

    def __init__(self, server: Server, authority: Authority, stack: contextlib.ExitStack) -> None:
        """``stack`` closes what is opened."""
        self.server, self._stack = server, stack
        self._context = ssl.create_default_context(cafile=authority.path)

    def open(self) -> http.client.HTTPConnection:
        if self.server.url.startswith("https"):
            return http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=PATIENCE, context=self._context)
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)

    def raw(self, sent: bytes) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)
        if self.server.url.startswith("https"):
            client = self._context.wrap_socket(client, server_hostname="127.0.0.1")
        client.sendall(sent)
        return client

    def get(self, path: str, method: str = "GET", body: bytes | None = None) -> Any:
        with contextlib.closing(self.open()) as connection:
            connection.request(method, path, body)
            return json.load(connection.getresponse())

    def begin(self, path: str) -> http.client.HTTPConnection:
        connection = self._stack.enter_context(contextlib.closing(self.open()))
        connection.request("GET", path)
        return connection

    def response(self, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        return self._stack.enter_context(contextlib.closing(connection.getresponse()))

    def ask(self, path: str) -> http.client.HTTPResponse:
        return self.response(self.begin(path))

    def add(self, name: str, *lines: bytes) -> None:
        self.get(f"/lines/{name}", "POST", b"\n".join(lines))

    @property
    def watched(self) -> int:
        return int(self.get("/state")["watched"])


def started(scheme: str, authority: Authority, folder: Path) -> Server:
    tls = ["--certfile", str(authority.sign(named(CN="server"), f"{folder.name}.pem"))] if scheme == "https" else []
    environment = {"GATEWAY_WATCHERS": str(WATCHERS), "GATEWAY_READ_TIMEOUT": str(READ_TIMEOUT)}
    return Server([*COMMAND, *tls, "tests.apps.waiting:app"], folder, environment)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=SCHEMES)
def server(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    server = started(request.param, authority, tmp_path_factory.mktemp(request.param))
    yield server
    server.stop()


@pytest.fixture
def clients(server: Server, authority: Authority) -> Iterator[Clients]:
    with contextlib.ExitStack() as stack:
        yield Clients(server, authority, stack)


def test_answers_that_wait_hold_no_thread_and_all_get_the_same(clients: Clients) -> None:
    threads = clients.get("/state")["threads"]
    streams = [clients.begin("/lines/many") for _ in range(12)]
    deferred = [clients.begin("/last/many") for _ in range(12)]
    bodies = [clients.response(each) for each in streams]
    assert [body.readline() for body in bodies] == [b"begun\n"] * 12
    eventually(lambda: clients.watched == 1)
    assert clients.get("/state")["threads"] <= threads + THREADS + 1
    clients.add("many", b"one", b"two")
    assert [body.readline() + body.readline() for body in bodies] == [b"one\ntwo\n"] * 12
    clients.add("many", b"3", b"4", b"5", b"6", b"end")
    assert [body.read() for body in bodies] == [b"3\n4\n5\n6\nend\n"] * 12
    assert {clients.response(each).read() for each in deferred} == {deferred_answer(clients, 7)}
    eventually(lambda: clients.watched == 0)


def deferred_answer(clients: Clients, lines: int) -> bytes:
    pid = clients.get("/last/none?wait=0")["pid"]
    return b'{"lines":%d,"pid":%d}\n' % (lines, pid)


def test_a_later_client_continues_where_an_earlier_one_stopped(clients: Clients) -> None:
    clients.add("later", b"1", b"2", b"3", b"4", b"5", b"end")
    assert clients.ask("/lines/later?after=4").read() == b"begun\n5\nend\n"


def test_a_connection_is_used_again_after_an_answer_that_waited(clients: Clients) -> None:
    asks = b"GET /last/again HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with clients.raw(asks) as client:
        eventually(lambda: clients.watched == 1)
        client.sendall(asks.replace(b"/last/again", b"/last/again?wait=0"))  # before the first is answered
        clients.add("again", b"end")
        received = b""
        while received.count(b'{"lines":1,') < 2:
            received += client.recv(9000)
    assert received.count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_has_ended_its_own_direction_is_still_answered(clients: Clients) -> None:
    if clients.server.url.startswith("https"):
        pytest.skip("TLS of Python has no half-close")
    with clients.raw(b"GET /last/half HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
        client.shutdown(socket.SHUT_WR)
        eventually(lambda: clients.watched == 1)
        clients.add("half", b"end")
        assert client.recv(9000).startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_leaves_a_stream_is_noticed(clients: Clients) -> None:
    with clients.raw(b"GET /lines/left HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
        assert client.recv(9000).startswith(b"HTTP/1.1 200 OK")
        eventually(lambda: clients.watched == 1)
    eventually(lambda: clients.watched == 0)


def test_a_client_that_does_not_read_is_dropped_and_others_are_served(clients: Clients) -> None:
    with clients.raw(b"GET /lines/slow HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
        eventually(lambda: clients.watched == 1)
        clients.add("slow", *[b"x" * 500_000] * 30)
        clients.add("brisk", b"line", b"end")
        assert clients.ask("/lines/brisk").read() == b"begun\nline\nend\n"
        eventually(lambda: clients.watched == 0)
        received = 0
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(1 << 20):
                received += len(piece)
        assert 0 < received < 30 * 500_000


def test_more_than_the_limit_are_refused_and_nothing_else_is(clients: Clients) -> None:
    streams = [clients.begin("/lines/crowd") for _ in range(WATCHERS)]
    bodies = [clients.response(each) for each in streams]
    for path in ("/lines/crowd", "/last/crowd"):
        refusal = clients.ask(path)
        assert (refusal.status, refusal.headers["Content-Type"]) == (503, "application/problem+json")
        assert int(refusal.headers["Retry-After"]) > 0
    assert clients.watched == 1
    clients.add("crowd", b"end")
    assert {body.read() for body in bodies} == {b"begun\nend\n"}
    assert clients.ask("/last/crowd?wait=0").status == 200


def test_http_1_0_gets_a_stream_without_chunks_that_ends_with_its_connection(clients: Clients) -> None:
    with clients.raw(b"GET /lines/old HTTP/1.0\r\nHost: localhost\r\n\r\n") as client:
        clients.add("old", b"one", b"end")
        received = b""
        while piece := client.recv(9000):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == b"begun\none\nend\n"
    assert b"Transfer-Encoding" not in head


def test_a_feed_that_fails_ends_its_own_answers_alone(clients: Clients) -> None:
    broken, other, deferred = (clients.begin(path) for path in ("/lines/bad", "/lines/good", "/last/bad"))
    body, rest = clients.response(broken), clients.response(other)
    assert body.readline() + rest.readline() == b"begun\nbegun\n"
    eventually(lambda: clients.watched == 2)
    clients.add("bad", b"break")
    with pytest.raises(http.client.IncompleteRead):
        body.read()
    assert clients.response(deferred).read() == deferred_answer(clients, 1)
    clients.add("good", b"end")
    assert rest.read() == b"end\n"
    assert "ValueError" in clients.server.log


def test_the_access_log_has_one_line_for_each_with_what_was_sent_in_all(clients: Clients) -> None:
    connection, deferred = clients.begin("/lines/logged"), clients.begin("/last/logged")
    body = clients.response(connection)
    assert body.readline() == b"begun\n"
    assert "ACCESS /lines/logged" not in clients.server.log
    clients.add("logged", b"four", b"end")
    clients.response(deferred).read()
    body.read()
    added = re.escape("ACCESS /lines/logged 200 ") + r"\d+"
    eventually(lambda: len(re.findall(added, clients.server.log)) == 2)  # the POST, and the stream
    sizes = [int(line.rsplit(" ", 1)[1]) for line in re.findall(added, clients.server.log)]
    chunked = len(b"6\r\nbegun\n\r\n" + b"9\r\nfour\nend\n\r\n" + b"0\r\n\r\n")
    assert chunked in sizes
    eventually(lambda: clients.server.log.count("ACCESS /last/logged 200") == 1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_stopping_server_ends_streams_and_gives_the_deferred_answers(
    scheme: str, authority: Authority, tmp_path: Path
) -> None:
    server = started(scheme, authority, tmp_path)
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        clients = Clients(server, authority, stack)
        stream, deferred = clients.begin("/lines/end"), clients.begin("/last/end")
        body = clients.response(stream)
        assert body.readline() == b"begun\n"
        eventually(lambda: clients.watched == 1)
        server.process.send_signal(signal.SIGTERM)
        assert body.read() == b""
        answer = clients.response(deferred)
        assert (answer.status, json.load(answer)["lines"]) == (200, 0)
        assert server.process.wait(PATIENCE) == 0
