"""A worker without a free place passes a request on to one that has some: nothing is refused while another is idle."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest

from tests.server.running import Running, Start
from tests.server.test_faults import TYPE, body
from tests.waiting import PATIENCE, eventually

PLACES = 2


@pytest.fixture(scope="module")
def server(start: Start) -> Running:
    options = ("--workers", "2", "--threads", str(PLACES + 1))
    found = start("inline", "sleeps", *options, GATEWAY_RESERVED_THREADS="1")
    assert len(found.views()) == 2
    return found


def ping(client: HTTPConnection) -> str:
    """The worker that answers a probe on this connection."""
    client.request("GET", "/ping")
    with client.getresponse() as answer:
        assert (answer.status, answer.read()[:1]) == (200, b"i")
        return answer.headers["X-Worker"]


def connected_to_one(server: Running, stack: ExitStack) -> list[HTTPConnection]:
    """Connections that one worker has accepted, as many as the server has places."""
    found: dict[str, list[HTTPConnection]] = {}
    while not any(len(each) == 2 * PLACES for each in found.values()):
        client = HTTPConnection("127.0.0.1", server.server.port, timeout=PATIENCE)
        stack.callback(client.close)
        found.setdefault(ping(client), []).append(client)
    return max(found.values(), key=len)


def test_requests_on_connections_of_one_worker_fill_the_places_of_all(server: Running) -> None:
    sent = body(json.dumps({"until": "kept-alive", "name": "kept-alive"}).encode())
    with ExitStack() as stack:
        clients = connected_to_one(server, stack)
        for client in clients:
            client.request("POST", "/sleeps", sent, {"Content-Type": TYPE})
        began = eventually(lambda: len(found := server.noted("began", "kept-alive")) == 2 * PLACES and found)
        assert set(Counter(began).values()) == {PLACES}
        server.order("kept-alive")
        for client in clients:
            with client.getresponse() as answer:
                assert (answer.status, bool(answer.read())) == (200, True)
        assert {ping(client) for client in clients} == {str(pid) for pid in began}  # moved, and still open


def test_only_requests_above_the_places_of_all_workers_are_refused(server: Running) -> None:
    with ThreadPoolExecutor(2 * PLACES + 1) as threads:
        asked = [threads.submit(server.ask, "sleeps", {"until": "new", "name": "new"}) for _ in range(2 * PLACES)]
        began = eventually(lambda: len(found := server.noted("began", "new")) == 2 * PLACES and found)
        assert set(Counter(began).values()) == {PLACES}
        assert server.ask("sleeps").status_code == 503
        assert server.get("/ping").status_code == 200
        server.order("new")
        assert [one.result().status_code for one in asked] == [200] * len(asked)
