"""Bodies made to be slow: refused or read in time linear to their size, and others are served meanwhile."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from benchmarks import trees
from tests.conftest import Serve, Server
from tests.server.test_faults import TYPE, post
from tests.waiting import PATIENCE

OPEN = b"--frontier\r\n\r\n{}\r\n"
CLOSE = b"--frontier--\r\n"
MiB = 1 << 20
PART_HEADER = b"--frontier\r\nX: "


def empty_parts(count: int) -> bytes:
    return OPEN + b"--frontier\r\n\r\n\r\n" * count + CLOSE


def filled(pattern: bytes) -> Callable[[int], bytes]:
    return lambda size: OPEN + b"--frontier\r\n\r\n" + pattern * (size // len(pattern)) + b"\r\n" + CLOSE


CASES: dict[str, tuple[Callable[[int], bytes], int]] = {
    "empty parts": (empty_parts, 8_000),
    "one long part header": (lambda size: OPEN + PART_HEADER + b"y" * size + b"\r\n\r\n\r\n" + CLOSE, 8 * MiB),
    "CR": (filled(b"\r"), 8 * MiB),
    "near-boundaries": (filled(b"\r\n--frontie"), 8 * MiB),
    "boundaries on no line": (filled(b" --frontier"), 8 * MiB),
}
TIMES = 8
"""So much larger is the second body: linear work takes 8 times as long, and quadratic work 64 times."""


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    huge = str(1 << 31)
    return serve(
        "tests.apps.faults:app",
        GATEWAY_MAX_PARTS=huge,
        GATEWAY_MAX_PART_HEADER_BYTES=huge,
        GATEWAY_MAX_JSON_BYTES=huge,
    )


def count(server: Server, body: bytes) -> None:
    response = requests.post(server.url + "/count", data=body, headers={"Content-Type": TYPE}, timeout=PATIENCE)
    assert response.status_code == 200, response.text


def work(server: Server, body: bytes) -> float:
    """Seconds of CPU of the server: other programs lengthen the elapsed time, and hardly this."""
    processes = trees.below(server.process.pid)
    before = sum(map(cpu_seconds, processes))
    count(server, body)
    return sum(map(cpu_seconds, processes)) - before


def cpu_seconds(pid: int) -> float:
    """All threads of a process, by the clock that clock_getcpuclockid(3) names on Linux."""
    return time.clock_gettime(~pid << 3 | 2)


@pytest.mark.parametrize("share", [4, pytest.param(1, marks=pytest.mark.slow)], ids=["a quarter", "whole"])
@pytest.mark.parametrize("case", CASES)
def test_with_every_limit_raised_the_work_is_linear_to_the_bytes(server: Server, case: str, share: int) -> None:
    make, whole = CASES[case]
    size = whole // share
    count(server, make(size))
    one, many = (min(work(server, make(times * size)) for _ in range(3)) for times in (1, TIMES))
    assert many < 3 * TIMES * one


def test_others_are_served_while_such_a_body_is_read(server: Server) -> None:
    def served() -> int:
        """How often another one was answered meanwhile."""
        with ThreadPoolExecutor(1) as thread:
            work, answers = thread.submit(count, server, empty_parts(100_000)), 0
            while not work.done():
                assert requests.get(server.url + "/ping", timeout=PATIENCE).status_code == 200
                answers += not work.done()
            work.result()
        return answers

    assert any(served() > 3 for _ in range(5)), "a busy machine keeps the one who asks waiting now and then"


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (empty_parts(30_000), "max_parts"),
        (OPEN + PART_HEADER + b"y" * MiB, "max_part_header_bytes"),
        (b'--frontier\r\n\r\n{"a": [' + b"[]," * 1_000_000 + b"0]}\r\n" + CLOSE, "max_json_values"),
    ],
)
def test_by_default_they_are_refused_by_the_name_of_the_limit(serve: Serve, body: bytes, limit: str) -> None:
    server = serve("tests.apps.faults:app")
    response = post(server, "/count", body)
    assert (response.status_code, response.json()["limit"]) == (413, limit)
