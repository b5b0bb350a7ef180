"""States that workers publish are read whole or not at all, by any process at any time."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.execution import HealthState
from gateway.executors.scoreboard import SLOT_SIZE, Scoreboard, together
from gateway.executors.states import ModelHealth, worst

HEALTH = st.builds(
    ModelHealth,
    state=st.sampled_from(HealthState),
    reason=st.text(max_size=20),
    queued=st.integers(0, 9),
    running=st.integers(0, 9),
    places=st.integers(0, 9),
    restarts=st.integers(0, 9),
    service_seconds=st.floats(0, 100),
)


def test_each_worker_of_the_newest_generation_is_heard_and_no_other() -> None:
    scoreboard = Scoreboard()
    first, second = scoreboard.slot(1), scoreboard.slot(2)
    first.publish({"says": "a"})
    second.publish({"says": "b"})
    assert sorted(words["says"] for words in first.read()) == ["a", "b"]
    scoreboard.renew()
    assert first.read() == []
    third = scoreboard.slot(3)
    third.publish({"says": "c"})
    first.publish({"says": "a still"})
    assert [words["says"] for words in second.read()] == ["c"]
    scoreboard.clear(3)
    assert third.read() == []


def test_that_the_server_has_been_ready_is_never_forgotten() -> None:
    scoreboard = Scoreboard()
    assert not scoreboard.started
    scoreboard.start()
    scoreboard.renew()
    assert scoreboard.started
    assert scoreboard.generation == 1


def test_a_state_that_is_too_large_leaves_the_former() -> None:
    scoreboard = Scoreboard()
    scoreboard.write(0, {"says": "a"})
    scoreboard.write(0, {"says": "x" * SLOT_SIZE})
    assert scoreboard.read() == [{"says": "a"}]


@pytest.mark.heavy
def test_states_are_read_whole_while_many_threads_write_them() -> None:
    scoreboard, over = Scoreboard(), threading.Event()

    def write(length: int) -> None:
        while not over.is_set():
            scoreboard.write(7, {"says": "x" * length, "length": length})

    threads = [threading.Thread(target=write, args=[length]) for length in (1, 100, 10_000)]
    for thread in threads:
        thread.start()
    try:
        seen = [words for _ in range(1000) for words in scoreboard.read()]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert seen
    assert all(len(words["says"]) == words["length"] for words in seen)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), HEALTH, max_size=3), max_size=4))
def test_over_all_workers_the_worst_state_counts_and_the_numbers_add_up(reports: list[dict[str, ModelHealth]]) -> None:
    found = together(reports)
    assert set(found) == {name for report in reports for name in report}
    for name, health in found.items():
        own = [report[name] for report in reports if name in report]
        assert health.state == worst(one.state for one in own)
        assert health.reason in [one.reason for one in own if one.state == health.state]
        for count in ("queued", "running", "places", "restarts"):
            assert getattr(health, count) == sum(getattr(one, count) for one in own)
        assert ModelHealth.of(health.words()) == health


@pytest.mark.parametrize(("state", "serves"), [(state, state in ("ready", "busy")) for state in HealthState])
def test_only_ready_and_busy_are_as_it_should_be(state: str, serves: bool) -> None:
    assert ModelHealth(state=state).serves is serves
