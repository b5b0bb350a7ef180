"""Memory of one request is reused for the next, only once it is unreferenced, and never shows its former bytes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.executors.messages import pair
from gateway.spool.anonymous_files import PAGES, AnonymousFile, MemoryPool
from gateway.spool.parts import PartFile, Spool, shared_file
from tests.conftest import Serve, Server
from tests.examples import examples
from tests.executors.processes import wait_until_ready
from tests.require import require
from tests.server.running import told
from tests.server.test_faults import TYPE, body
from tests.waiting import PATIENCE, eventually

MAPS = """
import mmap, os, sys
pages = mmap.mmap(int(sys.argv[1]), 0, access=mmap.ACCESS_READ)
os.close(int(sys.argv[1]))
print(flush=True)
input()
"""
"""A process that maps a file and closes it, and ends with its standard input."""


def received(spares: MemoryPool, *contents: bytes, more: int = 100) -> list[PartFile]:
    """Parts of a request, whose framing was counted in the announced length."""
    spool = Spool(threshold=16 * PAGES, expected=sum(map(len, contents)) + more, shared=spares.file)
    for content in contents:
        spool.write(content)
        spool.end_part()
    return spool.parts()


def file_of(parts: list[PartFile]) -> AnonymousFile:
    file, _ = shared_file(parts)
    assert file is not None
    return file


def number(parts: list[PartFile]) -> int:
    """Which memory it is."""
    return os.fstat(file_of(parts).descriptor).st_ino


def numbers_kept() -> set[int]:
    """The memory files that this process has open."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if str(entry.readlink()).startswith("/memfd:gateway "):
                found.add(entry.stat().st_ino)
        except FileNotFoundError:  # the descriptor by which the folder was read
            continue
    return found


sizes = st.integers(PAGES, 3 * PAGES)


@given(st.lists(st.tuples(sizes, st.integers(0, PAGES), st.integers(0, 10_000)), max_size=8))
@settings(max_examples=examples(30))
def test_a_request_finds_its_own_bytes_and_not_one_of_another(requests: list[tuple[int, int, int]]) -> None:
    spares = MemoryPool(8 * PAGES)
    for turn, (first, second, more) in enumerate(requests, 1):
        contents = [bytes([turn]) * first, bytes([turn]) * second]
        parts = received(spares, *contents, more=more)
        assert [part.read() for part in parts] == contents
        assert [bytes(part.getbuffer()) for part in parts] == contents
        assert os.fstat(file_of(parts).descriptor).st_size == first + second
        del parts
    spares.close()


def needs_leases() -> None:
    require(
        AnonymousFile.in_memory().opened_again().is_mine_alone(), "this kernel grants no leases (fcntl(2), F_SETLEASE)"
    )


def test_a_request_of_about_the_same_size_is_received_into_the_same_memory() -> None:
    needs_leases()
    spares = MemoryPool(8 * PAGES)
    first = number(received(spares, bytes(2 * PAGES)))
    assert [number(received(spares, bytes(size))) for size in (2 * PAGES, PAGES + 1, 2 * PAGES)] == [first] * 3
    assert number(received(spares, bytes(6 * PAGES))) != first


def a_part(parts: list[PartFile]) -> Callable[[], None]:
    kept = [parts[1]]
    return kept.clear


def a_view(parts: list[PartFile]) -> Callable[[], None]:
    kept = [memoryview(parts[1].getbuffer())[5:9]]
    return kept.clear


def a_message(parts: list[PartFile]) -> Callable[[], None]:
    here, there = pair()
    here.send({}, [file_of(parts)])

    def end() -> None:
        here.close()
        there.close()

    return end


def a_mapping_elsewhere(parts: list[PartFile]) -> Callable[[], None]:
    descriptor = file_of(parts).descriptor
    command = [sys.executable, "-c", MAPS, str(descriptor)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[descriptor])
    assert process.stdin is not None and process.stdout is not None
    process.stdout.readline()

    def end() -> None:
        process.communicate()

    return end


@pytest.mark.parametrize("again", [False, True], ids=["new", "mapped"])
@pytest.mark.parametrize("keep", [a_part, a_view, a_message, a_mapping_elsewhere])
def test_memory_that_is_still_referenced_is_not_reused(keep: Callable[..., Callable[[], None]], again: bool) -> None:
    spares = MemoryPool(8 * PAGES)
    if again:
        received(spares, bytes(PAGES), bytes(PAGES))
    parts = received(spares, bytes(PAGES), bytes(PAGES))
    first, end = number(parts), keep(parts)
    del parts
    assert number(received(spares, bytes(2 * PAGES))) != first
    end()
    spares.close()


@pytest.mark.parametrize("keep", [a_part, a_view, a_message, a_mapping_elsewhere])
def test_memory_is_reused_once_no_reference_is_left(keep: Callable[..., Callable[[], None]]) -> None:
    needs_leases()
    spares = MemoryPool(2 * PAGES + 1000)
    parts = received(spares, bytes(PAGES), bytes(PAGES))
    first, end = number(parts), keep(parts)
    del parts
    end()
    assert number(received(spares, bytes(2 * PAGES))) == first
    spares.close()


def test_the_pool_holds_at_most_the_limit_and_nothing_of_a_small_or_a_larger_request() -> None:
    before, spares = numbers_kept(), MemoryPool(5 * PAGES)
    at_once = [received(spares, bytes(2 * PAGES)) for _ in range(4)]
    assert len(numbers_kept() - before) == 4
    del at_once
    assert len(numbers_kept() - before) == 2
    received(spares, bytes(PAGES - 200))
    received(spares, bytes(6 * PAGES))
    assert len(numbers_kept() - before) == 2
    spares.close()
    assert numbers_kept() == before


def test_unused_memory_is_returned() -> None:
    before, spares = numbers_kept(), MemoryPool(8 * PAGES, idle=0.05)
    received(spares, bytes(PAGES))
    eventually(lambda: numbers_kept() == before)


@pytest.mark.parametrize("threshold", [2 * PAGES, 3 * PAGES])
def test_what_is_longer_than_announced_is_whole_all_the_same(threshold: int) -> None:
    spares = MemoryPool(8 * PAGES)
    received(spares, b"\xff" * (2 * PAGES - 100))
    spool = Spool(threshold=threshold, expected=2 * PAGES, shared=spares.file)
    for content in (contents := [b"a" * PAGES, b"b" * PAGES, b"c" * PAGES]):
        spool.write(content)
        spool.end_part()
    assert [part.read() for part in spool.parts()] == contents
    spares.close()


@pytest.fixture(scope="module")
def keeping(serve: Serve) -> Iterator[Server]:
    server = serve("tests.apps.keeping:app", "--workers", "1", GATEWAY_MODEL_PROCESSES="1", GATEWAY_CANCEL_GRACE="3600")
    wait_until_ready(server)
    yield server
    server.stop()


def ask(server: Server, route: str, content: bytes, **json_input: object) -> requests.Response:
    data = body(json.dumps(json_input).encode(), content)
    return requests.post(server.url + route, data=data, headers={"Content-Type": TYPE}, timeout=PATIENCE)


def test_a_model_that_keeps_studies_finds_them_unchanged(keeping: Server) -> None:
    for turn in range(1, 6):
        told(ask(keeping, "/passes", bytes([9]) * (2 * PAGES)))
        assert told(ask(keeping, "/keeps", bytes([turn]) * (2 * PAGES)))["seen"] == [[n] for n in range(1, turn + 1)]


def test_a_cancelled_study_stays_unchanged_until_the_model_ends(keeping: Server, tmp_path: Path) -> None:
    words = {"begun": str(tmp_path / "begun"), "until": str(tmp_path / "go")}
    late = body(json.dumps(words).encode(), bytes([1]) * (2 * PAGES))
    sent = {"Content-Type": TYPE, "X-Request-Timeout": "1"}
    told(ask(keeping, "/passes", bytes([9]) * (2 * PAGES)))

    def outlasts() -> bool:
        """A busy machine may let the deadline pass before the model has begun."""
        assert requests.post(keeping.url + "/lingers", data=late, headers=sent, timeout=PATIENCE).status_code == 504
        return Path(words["begun"]).exists()

    eventually(outlasts)
    for _ in range(3):
        told(ask(keeping, "/passes", bytes([9]) * (2 * PAGES)))
    (tmp_path / "go").touch()
    assert told(ask(keeping, "/lingers", bytes([2]) * (2 * PAGES), **words))["seen"] == [[1], [2]]


def test_studies_at_once_and_one_after_another_each_arrive_as_sent(keeping: Server) -> None:
    def sees(turn: int) -> bool:
        found = told(ask(keeping, "/passes", bytes([turn]) * (PAGES + turn * 30_000)))
        return bool(found["seen"] == [turn] and found["size"] == PAGES + turn * 30_000)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(sees, range(1, 40)))
