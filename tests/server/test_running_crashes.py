"""A model process that dies fails its own request and no other; it is replaced, and rests when that does not help."""

import contextlib
import os
import resource
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.server.running import ALL_FORMS, Running, Start, alive, problem, told
from tests.waiting import eventually

COOLDOWN = 3600
ROOM = 64 << 20
"""Bytes that a process short of memory may still allocate."""


@pytest.fixture(scope="module")
def server(start: Start) -> Running:
    return start("process", "dies echo", GATEWAY_BREAKER_COOLDOWN="1")


@contextlib.contextmanager
def short_of_memory(pid: int) -> Iterator[None]:
    """Limit a process's memory: by a control group, so that the kernel kills it; else by its address space."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_control_group(pid))
        except OSError:
            size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(pid, resource.RLIMIT_AS, (size + ROOM, size + ROOM))
        yield


@contextlib.contextmanager
def _control_group(pid: int) -> Iterator[None]:
    """Raises OSError where this user may not make one."""
    groups = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    if "memory" in groups:
        root, limit = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
    else:
        root, limit = Path("/sys/fs/cgroup" + groups.get("", "/")), "memory.max"
    group = root / f"inference-gateway-test-{pid}"
    group.mkdir()
    try:
        (group / limit).write_text(str(ROOM))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def crash(server: Running, by: str) -> float:
    """Kill the model's process during a request, which must report it; return the seconds from death to answer."""
    (pid,) = eventually(lambda: server.hosts("dies"))
    with ThreadPoolExecutor(1) as thread:
        asked: Future[requests.Response] = thread.submit(server.ask, "dies", {"by": by})
        eventually(lambda: not alive(pid))
        died = time.monotonic()
        problem(asked.result(), 502, "model-died")
        return time.monotonic() - died


@pytest.mark.parametrize("by", ["kill", "segv", "exit", "memory", "leaving a child"])
def test_a_model_process_that_dies_fails_its_own_request_at_once_and_is_replaced(server: Running, by: str) -> None:
    (before,), echo = server.hosts("dies"), server.told("echo")["pid"]
    restarts = server.health("dies")["restarts"]
    server.order("wait to start")
    with short_of_memory(before) if by == "memory" else contextlib.nullcontext():
        crash(server, by)
    health = eventually(lambda: server.not_ready())
    assert health["/dies"]["reason"]
    assert health["/echo"]["state"] == "ready"
    assert server.told("echo")["pid"] == echo
    server.order("wait to start", "")
    after = server.told("dies")["pid"]  # waits in line until the new process is there
    assert {after} == server.hosts("dies") != {before}
    eventually(server.is_ready)
    assert server.health("dies")["restarts"] == restarts + 1
    assert server.get("/healthcheck").text == "READY"


def test_a_death_is_reported_within_two_seconds(server: Running) -> None:
    def soon() -> bool:
        server.told("dies")  # so that no two deaths are in a row
        return crash(server, "kill") < 2

    assert any(soon() for _ in range(10)), "a busy machine takes longer now and then, and not each time"


def test_what_a_dead_model_process_had_started_ends_with_it(server: Running) -> None:
    crash(server, "leaving a child")
    server.told("dies")
    eventually(lambda: len(server.family()) == 1 + 2 + 1 + 2)  # master, workers, supervisor, models


@pytest.mark.slow
def test_three_deaths_in_a_row_open_the_breaker(start: Start) -> None:
    server = start("process", "dies echo", "--workers", "1", GATEWAY_BREAKER_COOLDOWN=str(COOLDOWN))
    echo = server.told("echo")["pid"]
    for _ in range(3):
        crash(server, "exit")
    eventually(lambda: server.health("dies")["state"] == "failed")
    refused = server.ask("dies")
    problem(refused, 503, "unavailable")
    assert "3 times in a row" in server.health("dies")["reason"]
    assert 1 <= int(refused.headers["Retry-After"]) <= COOLDOWN
    assert server.get("/healthcheck").text == "FAILED"
    assert server.get("/livez").status_code == 200
    assert server.told("echo")["pid"] == echo
    assert server.hosts("dies") == set()


@pytest.mark.slow
def test_the_breaker_closes_again_after_its_time(server: Running) -> None:
    for _ in range(3):
        crash(server, "exit")
    eventually(lambda: server.ask("dies").status_code == 200)
    assert server.told("dies")["pid"] in server.hosts("dies")
    crash(server, "exit")  # the count has begun anew
    eventually(server.is_ready)


def test_requests_in_line_behind_one_that_kills_the_process_are_answered_by_the_next(server: Running) -> None:
    before = server.told("dies")["pid"]
    with ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(server.ask, "dies", {"by": "kill"})]
        eventually(lambda: not alive(before))
        asked += [threads.submit(server.ask, "dies") for _ in range(5)]
        answers = [one.result() for one in asked]
    problem(answers[0], 502, "model-died")
    assert {told(answer)["pid"] for answer in answers[1:]} == server.hosts("dies") != {before}


@pytest.mark.parametrize("which", ["supervisor", "worker"])
def test_after_the_supervisor_or_a_worker_is_killed_all_is_as_before(server: Running, which: str) -> None:
    eventually(server.is_ready)
    before = server.family()
    killed = server.supervisor if which == "supervisor" else min(server.workers)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: not alive(killed))
    eventually(lambda: len(server.family()) == len(before) and killed not in server.family())
    eventually(server.is_ready)
    assert told(server.ask("dies"))["pid"] in server.hosts("dies")
    assert told(server.ask("echo"))["pid"] in server.hosts("echo")
    if which == "worker":
        assert server.hosts("echo") <= before  # what others use is not loaded anew


def test_calls_of_a_worker_that_is_killed_are_cancelled(start: Start) -> None:
    server = start("process", "watches", "--workers", "1")
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(lambda: pytest.raises(requests.ConnectionError, server.ask, "watches", {"seconds": 300}))
        eventually(lambda: server.noted("began"))
        (worker,) = server.workers
        os.kill(worker, signal.SIGKILL)
        asked.result()
    eventually(lambda: server.noted("cancelled"))
    assert told(server.ask("watches", {"seconds": 0}))


@pytest.mark.parametrize("form", ALL_FORMS)
def test_after_the_master_is_killed_no_process_is_left(start: Start, form: str) -> None:
    server = start(form, "echo")
    os.kill(server.master, signal.SIGKILL)
    server.server.process.wait()
    eventually(lambda: not server.family())
