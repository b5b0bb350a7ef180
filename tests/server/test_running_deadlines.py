"""One deadline from the client to the model, and abandoned work ends, in both forms of running models."""

import json
import os
import select
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.server.running import ALL_FORMS, Running, Start, problem, told
from tests.server.test_faults import TYPE, body
from tests.waiting import PATIENCE, eventually

MOST = 3600.0
GRACE = 1.0


@pytest.fixture(scope="module", params=ALL_FORMS)
def server(request: pytest.FixtureRequest, start: Start) -> Running:
    return start(
        request.param,
        "echo works watches one brief bounded",
        *("--workers", "1" if request.param == "inline" else "2"),  # inside a worker each has a line of its own
        GATEWAY_REQUEST_TIMEOUT=str(MOST),
        GATEWAY_CANCEL_GRACE=str(GRACE),
        GATEWAY_BREAKER_COOLDOWN="1",
    )


def overrun(server: Running, route: str, name: str, **words: object) -> None:
    """Have a call begin and outlast its deadline; a busy machine may let that pass before the call has begun."""

    def begun() -> list[int]:
        answer = server.ask(route, {**words, "name": name}, X_Request_Timeout="0.5")
        assert problem(answer, 504, "deadline-exceeded")["detail"]
        return server.noted("began", name)

    eventually(begun)


def test_a_request_is_answered_504_at_the_deadline_that_it_requests(server: Running) -> None:
    began = time.monotonic()
    overrun(server, "works", "late", seconds=MOST, steps=100_000)
    assert time.monotonic() - began >= 0.5
    eventually(lambda: server.noted("raised", "late"))
    assert told(server.ask("works", {"seconds": 0.01}))


@pytest.mark.parametrize("asked", ["soon", "-1", "0", "nan", "inf", "1e999", "", "1_0", "0x10", "3s"])
def test_a_deadline_that_is_no_number_of_seconds_is_refused(server: Running, asked: str) -> None:
    detail = problem(server.ask("echo", X_Request_Timeout=asked), 400, "bad-request")["detail"]
    assert "X-Request-Timeout" in detail


@pytest.mark.parametrize(
    ("route", "asked", "granted"),
    [
        ("echo", None, MOST),
        ("echo", "77.5", 77.5),
        ("echo", "1e+06", MOST),
        ("bounded", None, 600),
        ("bounded", "1e+03", 600),
    ],
)
def test_a_response_names_the_deadline_which_no_request_can_extend(
    server: Running, route: str, asked: str | None, granted: float
) -> None:
    given = {"X_Request_Timeout": asked} if asked else {}
    answer = server.ask(route, {"seconds": 0}, **given)
    assert answer.status_code == 200
    assert float(answer.headers["X-Request-Timeout"]) == granted


def test_the_deadline_that_a_model_declares_holds_for_its_requests(server: Running) -> None:
    problem(server.ask("brief", {"seconds": 1.5}), 504, "deadline-exceeded")
    eventually(lambda: not server.health("brief")["running"])


def test_a_body_too_slow_for_the_deadline_is_answered_504(server: Running) -> None:
    whole = body(b"{}", b"x" * 1000)
    with connection(server, "echo", len(whole), X_Request_Timeout="0.5") as client:
        octets = iter(whole[:-1])
        while not select.select([client], [], [], 0.005)[0]:
            client.sendall(bytes([next(octets)]))
        assert client.recv(100).startswith(b"HTTP/1.1 504 ")


def test_work_in_line_is_dropped_at_its_deadline_and_never_begun(server: Running) -> None:
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(server.ask, "one", {"until": "go", "name": "first"})
        eventually(lambda: server.noted("began", "first"))
        problem(
            server.ask("one", {"seconds": MOST, "name": "dropped"}, X_Request_Timeout="0.2"),
            504,
            "deadline-exceeded",
        )
        server.order("go")
        told(first.result())
    told(server.ask("one", {"name": "next"}))
    assert server.noted("began", "next")
    assert not server.noted("began", "dropped")


def test_a_running_model_sees_that_its_deadline_has_passed(server: Running) -> None:
    overrun(server, "watches", "deadline", seconds=MOST)
    eventually(lambda: server.noted("cancelled", "deadline"))
    eventually(server.is_ready)


def connection(server: Running, route: str, length: int, **headers: str) -> socket.socket:
    """A connection with the head of a request sent."""
    client = socket.create_connection(("127.0.0.1", server.server.port), timeout=PATIENCE)
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST /{route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {TYPE}\r\nContent-Length: {length}\r\n{more}\r\n"
    )
    client.sendall(head.encode())
    return client


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_the_work_of_a_client_that_disconnects_is_cancelled(server: Running, leave: str) -> None:
    whole = body(json.dumps({"seconds": MOST, "name": leave}).encode())
    client = connection(server, "watches", len(whole))
    client.sendall(whole)
    eventually(lambda: server.noted("began", leave))
    if leave == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    eventually(lambda: server.noted("cancelled", leave))
    told(server.ask("watches", {"seconds": 0}))
    eventually(server.is_ready)


def test_a_client_that_ends_its_own_direction_only_is_answered(server: Running) -> None:
    whole = body(json.dumps({"until": "half-closed", "name": "half"}).encode())
    with connection(server, "one", len(whole)) as client:
        client.sendall(whole)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(9000) == b"HTTP/1.1 100 Continue\r\n\r\n"  # the gateway has looked whether it is there
        eventually(lambda: server.noted("began", "half"))
        server.order("half-closed")
        assert client.recv(9000).startswith(b"HTTP/1.1 200 ")


def test_pending_work_of_a_client_that_disconnects_never_starts(server: Running) -> None:
    whole = body(json.dumps({"seconds": 0, "name": "gone"}).encode())
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(server.ask, "one", {"until": "go on", "name": "before"})
        eventually(lambda: server.noted("began", "before"))
        client = connection(server, "one", len(whole))
        client.sendall(whole)
        eventually(lambda: server.health("one")["queued"])
        client.close()
        eventually(lambda: not server.health("one")["queued"])
        server.order("go on")
        told(first.result())
    told(server.ask("one", {"seconds": 0}))
    assert not server.noted("began", "gone")


def test_a_hung_call_keeps_its_place_and_health_reports_it_until_it_ends(server: Running) -> None:
    server.order("wait to start")  # so that a process that takes the place of another takes its time
    before = server.hosts("one")
    overrun(server, "one", "hung", until="over")
    assert server.health("one")["running"] == 1 or not server.hosts("one") & before
    health = eventually(lambda: server.not_ready())["/one"]
    assert health["state"] in ("degraded", "failed", "starting")
    assert "hang" in health["reason"] or "hung" in health["reason"]
    assert server.get("/livez").status_code == 200
    assert told(server.ask("echo"))
    server.order("over")
    server.order("wait to start", "")
    eventually(server.is_ready)
    assert server.get("/healthcheck").text == "READY"
    assert told(server.ask("one", {"seconds": 0}))


@pytest.mark.slow
def test_a_hung_model_process_is_killed_after_its_grace_and_replaced(start: Start) -> None:
    server = start("process", "sleeps", "--workers", "1", GATEWAY_CANCEL_GRACE="0.3")
    (before,) = server.hosts("sleeps")
    overrun(server, "sleeps", "hung", seconds=600)
    after = told(server.ask("sleeps", {"seconds": 0}))["pid"]
    assert {after} == server.hosts("sleeps") != {before}
    assert server.health("sleeps")["restarts"] == 1


def test_a_worker_lets_no_more_calls_hang_than_it_has_places(start: Start) -> None:
    server = start("inline", "sleeps echo", "--workers", "1", "--threads", "4")
    for name in ("first", "second"):
        overrun(server, "sleeps", name, seconds=600)
    refused = server.ask("echo")
    problem(refused, 503, "unavailable")
    assert int(refused.headers["Retry-After"]) >= 1
    os.kill(server.master, signal.SIGKILL)
