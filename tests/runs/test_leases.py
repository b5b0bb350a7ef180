"""Which leases of other processes have ended, by two clocks, one of which may be set."""

import time
from typing import Any

import pytest
from sqlalchemy import update

from gateway.runs.leases import Leases
from gateway.runs.lifecycle import RunState
from gateway.studies.tables import runs
from tests.runs.conftest import CALLER, Bench

NOON = 1_700_000_000.0
LEASE = 30.0


def looks(leases: Leases, start: int, stop: int, ends: dict[str, float], clock: float = NOON) -> list[str]:
    """One look a second from ``start`` to ``stop``, at a clock that shows ``clock`` at 0; the keys that end by then."""
    found = dict[str, float]()
    for elapsed in range(start, stop + 1):
        found |= leases.ended(ends, clock + elapsed, 1000.0 + elapsed)
    return sorted(found)


def test_a_lease_ends_by_its_clock() -> None:
    leases = Leases(LEASE)
    assert looks(leases, 0, 9, {"one": NOON + 10, "two": NOON + 40}) == []
    assert looks(leases, 10, 39, {"one": NOON + 10, "two": NOON + 41}) == ["one"]


def test_a_process_that_starts_takes_over_at_once() -> None:
    assert looks(Leases(LEASE), 0, 0, {"one": NOON - 1}) == ["one"]


def test_a_lease_that_is_not_renewed_ends_although_the_clock_was_set_back() -> None:
    leases, ends = Leases(LEASE), {"dead": NOON + LEASE}
    assert looks(leases, 0, 5, ends) == []
    assert looks(leases, 6, 29, ends, clock=NOON - 3600) == []
    assert looks(leases, 30, 31, ends, clock=NOON - 3600) == ["dead"]


def test_a_lease_that_is_renewed_never_ends() -> None:
    leases = Leases(LEASE)
    for elapsed in range(0, 120, 10):
        assert looks(leases, elapsed, elapsed + 9, {"one": NOON - 3600 + elapsed + LEASE}, clock=NOON - 3600) == []


def test_a_clock_that_is_set_forward_leaves_time_to_renew() -> None:
    leases, forward = Leases(LEASE), NOON + 3600
    assert looks(leases, 0, 5, {"living": NOON + 20, "dead": NOON + 20}) == []
    assert looks(leases, 6, 16, {"living": NOON + 20, "dead": NOON + 20}, clock=forward) == []
    renewed = {"living": forward + 16 + LEASE, "dead": NOON + 20}
    assert looks(leases, 17, 25, renewed, clock=forward) == ["dead"]


def test_an_outage_leaves_time_to_renew() -> None:
    leases, ends = Leases(LEASE), {"one": NOON + 20}
    assert looks(leases, 0, 5, ends) == []
    assert looks(leases, 100, 110, ends) == []
    assert looks(leases, 111, 120, {"one": NOON + 110 + LEASE}) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_run_of_a_dead_process_moves_on_after_its_clock_was_set_back(open_bench: Any) -> None:
    asleep: Bench = open_bench(run_lease=2.0, run_concurrency=0)
    run = asleep.submit("quick", id="one")
    with asleep.runs._ledger.changing() as changes:
        assert changes.move(run.key, lambda status: status.claim("dead", time.time() + 3600, 2.0)) is not None
    other = asleep.submit("quick", id="other")
    with asleep.runs._ledger.changing() as changes:
        later = {"available_at": time.time() + 3600}  # given back before its clock was set back
        changes.connection.execute(update(runs).where(runs.c.key == other.key).values(later))
    awake: Bench = open_bench(run_lease=2.0)
    awake.runs.open()
    assert awake.ended(run).state is awake.ended(other).state is RunState.FINISHED
    assert awake.runs.get(CALLER, "one").attempts == 2
