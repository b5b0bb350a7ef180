"""Bodies made to be slow: refused or read in time linear to their size, and others are served meanwhile."""

import threading
import time
from collections.abc import Callable

import pytest
import requests

from tests.conftest import Serve, Server
from tests.server.test_faults import TYPE, post

OPEN = b"--frontier\r\n\r\n{}\r\n"
CLOSE = b"--frontier--\r\n"
MiB = 1 << 20
PART_HEADER = b"--frontier\r\nX: "


def empty_parts(count: int) -> bytes:
    return OPEN + b"--frontier\r\n\r\n\r\n" * count + CLOSE


def filled(pattern: bytes) -> Callable[[int], bytes]:
    return lambda size: OPEN + b"--frontier\r\n\r\n" + pattern * (size // len(pattern)) + b"\r\n" + CLOSE


CASES: dict[str, tuple[Callable[[int], bytes], int]] = {
    "empty parts": (empty_parts, 30_000),
    "one long part header": (lambda size: OPEN + PART_HEADER + b"y" * size + b"\r\n\r\n\r\n" + CLOSE, 16 * MiB),
    "CR": (filled(b"\r"), 32 * MiB),
    "near-boundaries": (filled(b"\r\n--frontie"), 32 * MiB),
    "boundaries on no line": (filled(b" --frontier"), 32 * MiB),
}


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    huge = str(1 << 31)
    return serve(
        "tests.apps.faults:app",
        GATEWAY_MAX_PARTS=huge,
        GATEWAY_MAX_PART_HEADER_BYTES=huge,
        GATEWAY_MAX_JSON_BYTES=huge,
    )


def seconds(server: Server, body: bytes) -> float:
    began = time.perf_counter()
    response = requests.post(server.url + "/count", data=body, headers={"Content-Type": TYPE}, timeout=120)
    assert response.status_code == 200, response.text
    return time.perf_counter() - began


@pytest.mark.parametrize("case", CASES)
def test_with_every_limit_raised_twice_the_bytes_take_at_most_twice_the_time(server: Server, case: str) -> None:
    make, size = CASES[case]
    once, twice = make(size), make(2 * size)
    # the least of several runs is what the work takes; a tenth of a second is what the machine may add
    assert min(seconds(server, twice) for _ in range(3)) <= 2.2 * min(seconds(server, once) for _ in range(3)) + 0.1


def test_others_are_served_while_such_a_body_is_read(server: Server) -> None:
    work = threading.Thread(target=seconds, args=(server, empty_parts(100_000)))
    work.start()
    waits = []
    while work.is_alive():
        began = time.perf_counter()
        assert requests.get(server.url + "/ping", timeout=5).status_code == 200
        waits.append(time.perf_counter() - began)
    work.join()
    assert len(waits) > 3
    assert sorted(waits)[len(waits) // 2] < 1


@pytest.mark.parametrize(
    ("body", "limit"), [(empty_parts(30_000), "max_parts"), (OPEN + PART_HEADER + b"y" * MiB, "max_part_header_bytes")]
)
def test_by_default_they_are_refused_by_the_name_of_the_limit(serve: Serve, body: bytes, limit: str) -> None:
    server = serve("tests.apps.faults:app")
    response = post(server, "/count", body)
    assert (response.status_code, response.json()["limit"]) == (413, limit)
