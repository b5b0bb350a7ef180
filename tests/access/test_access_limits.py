"""Bounds on each caller: exact across processes, after one was killed, and each caller's for itself."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import Settings
from gateway.access import shared_table
from gateway.access.rate_limits import CallerLimits
from gateway.access.shared_table import SharedTable
from gateway.errors import TooManyRequests, Unavailable
from tests.waiting import PATIENCE


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limits(table: SharedTable | None = None, clock: Callable[[], float] | None = None, **settings: int) -> CallerLimits:
    return CallerLimits(Settings(**settings), table or SharedTable(), clock or Clock())


@given(
    rate=st.integers(1, 600),
    burst=st.integers(1, 20),
    waits=st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=60),
)
def test_a_caller_never_gets_more_than_its_burst_and_its_rate(rate: int, burst: int, waits: list[float]) -> None:
    clock = Clock()
    bounds = limits(clock=clock, caller_rate=rate, caller_burst=burst)
    taken: list[float] = []
    for wait in waits:
        clock.now += wait
        try:
            bounds.enter("one")()
            taken.append(clock.now)
        except TooManyRequests as refusal:
            clock.now += refusal.retry_after
            bounds.enter("one")()  # who waits as long as told gets in
            taken.append(clock.now)
    for i, start in enumerate(taken):
        for j in range(i, len(taken)):
            assert j - i + 1 <= burst + (taken[j] - start) * rate / 60 + 1e-6


@given(
    hosts=st.integers(1, 4),
    rate=st.integers(1, 600),
    burst=st.integers(4, 20),
    arrivals=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3)), max_size=60),
)
def test_hosts_behind_one_address_grant_no_more_than_one(
    hosts: int, rate: int, burst: int, arrivals: list[tuple[float, int]]
) -> None:
    clock = Clock()
    bounds = [limits(clock=clock, caller_rate=rate, caller_burst=burst, caller_hosts=hosts) for _ in range(hosts)]
    start, granted = clock.now, 0
    for wait, host in arrivals:
        clock.now += wait
        with contextlib.suppress(TooManyRequests):
            bounds[host % hosts].enter("one")()
            granted += 1
    assert granted <= burst + (clock.now - start) * rate / 60 + 1e-6


def test_a_caller_that_waits_for_its_retry_after_is_admitted_however_its_seconds_are_rounded() -> None:
    clock = Clock()
    clock.now = 2022.4987168463924  # 60 s later the clock has lost the last bits of a token
    bounds = limits(clock=clock, caller_rate=1, caller_burst=1)
    bounds.enter("one")
    with pytest.raises(TooManyRequests) as refusal:
        bounds.enter("one")
    assert refusal.value.retry_after == 60
    clock.now += 60
    bounds.enter("one")


def test_the_retry_after_is_the_shortest_possible() -> None:
    clock = Clock()
    bounds = limits(clock=clock, caller_rate=6, caller_burst=2)
    bounds.enter("one")
    bounds.enter("one")
    with pytest.raises(TooManyRequests) as refusal:
        bounds.enter("one")
    assert refusal.value.headers() == {"Retry-After": "10"}
    clock.now += 9
    with pytest.raises(TooManyRequests):
        bounds.enter("one")
    clock.now += 1
    bounds.enter("one")


def test_one_callers_bounds_are_not_another_ones() -> None:
    bounds = limits(caller_rate=1, caller_burst=1, caller_concurrency=1)
    for number in range(200):
        bounds.enter(f"caller-{number}")
        with pytest.raises(TooManyRequests):
            bounds.enter(f"caller-{number}")


def test_a_place_is_released_once() -> None:
    bounds = limits(caller_concurrency=2)
    first, _second = bounds.enter("one"), bounds.enter("one")
    with pytest.raises(TooManyRequests):
        bounds.enter("one")
    first()
    first()
    bounds.enter("one")
    with pytest.raises(TooManyRequests):
        bounds.enter("one")


def test_without_bounds_nothing_is_counted() -> None:
    table = SharedTable()
    bounds = limits(table)
    for _ in range(100):
        bounds.enter("one")
    with table.locked():
        row = table.row("one", idle_before=0)
        assert row is not None
        assert not table.at_work(row, at_least=1)


def test_idle_callers_make_room_for_others_without_end() -> None:
    clock = Clock()
    bounds = limits(clock=clock, caller_rate=60, caller_burst=1)
    for number in range(3 * shared_table.ROWS):
        bounds.enter(f"caller-{number}")()
        clock.now += 0.1


def test_a_caller_who_is_not_idle_is_not_forgotten_for_another() -> None:
    bounds = limits(caller_rate=1, caller_burst=1)
    entered = []
    for number in range(2 * shared_table.ROWS):
        try:
            bounds.enter(f"caller-{number}")()
            entered.append(f"caller-{number}")
        except Unavailable as refusal:
            assert refusal.retry_after > 0
    assert len(entered) > shared_table.ROWS / 2
    for name in entered:
        with pytest.raises(TooManyRequests):
            bounds.enter(name)


FORK = multiprocessing.get_context("fork")


def _ask(bounds: CallerLimits, start: Any, answers: Any, count: int) -> None:
    start.wait()
    taken = 0
    for _ in range(count):
        try:
            bounds.enter("one")
            taken += 1
        except TooManyRequests:
            pass
    answers.put(taken)
    start.wait()


@pytest.mark.parametrize("settings", [{"caller_concurrency": 50}, {"caller_rate": 1, "caller_burst": 50}])
def test_concurrent_processes_get_exactly_the_common_limit(settings: dict[str, int]) -> None:
    bounds, start, answers = limits(**settings), FORK.Barrier(4), FORK.SimpleQueue()
    asking = [FORK.Process(target=_ask, args=(bounds, start, answers, 200)) for _ in range(3)]
    for process in asking:
        process.start()
    start.wait(PATIENCE)
    assert sum(answers.get() for _ in asking) == 50
    start.wait(PATIENCE)
    for process in asking:
        process.join(PATIENCE)


def _hold(bounds: CallerLimits, ready: Any) -> None:
    for _ in range(3):
        bounds.enter("one")
    ready.put(os.getpid())
    signal.pause()


def test_what_a_killed_process_had_at_work_counts_no_more() -> None:
    bounds, ready = limits(caller_concurrency=4), FORK.SimpleQueue()
    holding = FORK.Process(target=_hold, args=(bounds, ready))
    holding.start()
    ready.get()
    leave = bounds.enter("one")
    with pytest.raises(TooManyRequests):
        bounds.enter("one")
    holding.kill()
    holding.join(PATIENCE)
    for _ in range(3):
        bounds.enter("one")
    with pytest.raises(TooManyRequests):
        bounds.enter("one")
    leave()
    bounds.enter("one")


def _keep_locked(table: SharedTable, ready: Any) -> None:
    with table.locked():
        ready.put(os.getpid())
        signal.pause()


def test_a_process_killed_while_counting_leaves_no_lock() -> None:
    table, ready = SharedTable(), FORK.SimpleQueue()
    holding = FORK.Process(target=_keep_locked, args=(table, ready))
    holding.start()
    ready.get()
    holding.kill()
    limits(table, caller_concurrency=1).enter("one")
    holding.join(PATIENCE)


def test_the_first_of_all_processes_is_one() -> None:
    table = SharedTable()
    assert [table.first() for _ in range(3)] == [True, False, False]
