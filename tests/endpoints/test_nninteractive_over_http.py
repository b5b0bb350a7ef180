"""nnInteractive's remote sessions under gunicorn: any worker takes a lease's requests, and what dies is reported."""

import contextlib
import json
import os
import signal
import socket

import numpy as np
import pytest
import requests

from tests.conftest import Serve, Server
from tests.endpoints.nninteractive_lease import Lease, Reply, Send
from tests.executors.processes import wait_until_ready
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.server

SHAPE = (4, 10, 12)
EXPIRED = 410, "lease-expired"


def open_server(serve: Serve, *options: str) -> Server:
    server = serve("tests.apps.clicking:app", "--workers", "2", *options, GATEWAY_NNINTERACTIVE="/paint")
    wait_until_ready(server)
    return server


@pytest.fixture(scope="module")
def inline(serve: Serve) -> Server:
    """Two workers with the model inside them."""
    return open_server(serve)


@pytest.fixture(scope="module")
def hosted(serve: Serve) -> Server:
    """Two workers, and one process of the model."""
    return open_server(serve, "--model-processes", "1")


@pytest.fixture(params=["inline", "hosted"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


def sender(server: Server) -> Send:
    """Return how to send a request on a connection of its own."""

    def send(method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        answer = requests.request(method, server.url + path, data=body, headers=headers, timeout=PATIENCE)
        return Reply(answer.status_code, answer.headers, answer.content)

    return send


def worker(reply: Reply) -> int:
    """The process that answered."""
    return int(reply.headers["X-Worker"])


def apart(server: Server) -> tuple[Lease, int, int]:
    """Return a lease, the worker that granted it, and another one that has its image."""
    lease = Lease(sender(server), claim=False)
    claimed = lease.ask("/claim")
    lease.token = claimed.json["lease_token"]
    found: list[int] = []

    def elsewhere() -> bool:
        found.append(worker(lease.set_image()))
        return found[-1] != worker(claimed)

    eventually(elsewhere)
    return lease, worker(claimed), found[-1]


def until_refused(lease: Lease) -> None:
    """Click until the lease has ended; a connection to a worker that was killed may be broken meanwhile."""

    def refused() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            reply = lease.ask("/add_point_interaction", {"coordinates": [0, 0, 0], "include_interaction": True})
            return reply.status != 200 and reply.code == EXPIRED
        return False

    eventually(refused)


def test_every_worker_takes_the_requests_of_a_lease(server: Server) -> None:
    lease, granted, _ = apart(server)
    workers, places = set[int](), iter(np.ndindex(SHAPE))
    clicked: list[tuple[int, ...]] = []

    def spread() -> bool:
        clicked.append(next(places))
        workers.add(worker(lease.point(*clicked[-1])))
        return len(workers) == 2

    eventually(spread)
    assert lease.marked == clicked
    while clicked:
        assert lease.undo()
        clicked.pop()
        assert lease.marked == clicked
    assert granted in workers
    lease.ask("/release")


@pytest.mark.parametrize("which", [0, 1], ids=["the lease", "the image"])
def test_a_killed_worker_ends_its_leases_and_those_with_an_image_in_it(which: int, inline: Server) -> None:
    lease, *workers = apart(inline)
    os.kill(workers[which], signal.SIGKILL)
    until_refused(lease)
    other = Lease(sender(inline))
    assert other.set_image().status == 200
    other.point(1, 2, 3)
    assert other.marked == [(1, 2, 3)]
    other.ask("/release")


def test_a_client_that_hangs_up_is_right_again_after_its_next_prompt(inline: Server) -> None:
    lease = Lease(sender(inline))
    lease.set_image()
    lease.point(0, 0, 0)
    words = json.dumps({"coordinates": [3, 9, 11], "include_interaction": True})
    head = (
        f"POST /nninteractive/add_point_interaction HTTP/1.1\r\nHost: localhost\r\nX-Lease-Token: {lease.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(words)}\r\n\r\n{words}"
    )
    with socket.create_connection(("127.0.0.1", inline.port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
        connection.recv(1, socket.MSG_PEEK)  # an action was taken; its response is never read
    lease.point(1, 1, 1)
    assert lease.marked == [(0, 0, 0), (1, 1, 1), (3, 9, 11)]
    lease.ask("/release")
