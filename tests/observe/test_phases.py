"""A request's time by phase: every moment is counted, and counted once."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.outcomes import PHASES
from gateway.observe.phases import Phases, server_timing

Tree = list["tuple[str, Tree]"]
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.just([]), lambda below: st.lists(st.tuples(st.sampled_from(PHASES), below), max_size=3), max_leaves=12
)


def walk(phases: Phases, tree: Tree) -> None:
    for name, below in tree:
        with phases.measure(name):
            walk(phases, below)


@given(TREES)
def test_nested_measures_never_add_up_to_more_than_has_passed(tree: Tree) -> None:
    phases, began = Phases(), time.perf_counter()
    walk(phases, tree)
    assert 0 <= sum(phases.seconds.values()) <= time.perf_counter() - began


def test_what_is_measured_inside_is_taken_from_what_is_around_it() -> None:
    phases, began = Phases(), time.perf_counter()
    with phases.measure("decode"):
        time.sleep(0.02)
        with phases.measure("receive"):
            time.sleep(0.05)
        time.sleep(0.02)
    passed = time.perf_counter() - began
    assert phases.seconds["receive"] >= 0.05
    assert phases.seconds["decode"] >= 0.04
    assert sum(phases.seconds.values()) <= passed, "nothing counts twice"


def test_a_phase_ends_the_one_before_it_and_its_time_is_never_negative() -> None:
    phases = Phases()
    began = phases.begin("receive")
    with phases.measure("hash"):
        time.sleep(0.02)
    queued = phases.begin("queue")
    phases.add("predict", 60.0, of="queue")  # as several threads of a model may say
    phases.begin("encode")
    assert phases.seconds["receive"] + phases.seconds["hash"] == pytest.approx(queued - began)
    assert phases.seconds["hash"] >= 0.02
    assert (phases.seconds["queue"], phases.seconds["predict"]) == (0.0, 60.0)


def test_a_phase_is_closed_when_its_block_raises() -> None:
    phases = Phases()
    with pytest.raises(KeyError), phases.measure("predict"), phases.measure("queue"):
        raise KeyError
    with phases.measure("encode"):
        pass
    assert phases.seconds.keys() == {"queue", "predict", "encode"}


def test_seconds_measured_elsewhere_are_subtracted_from_the_phase_around_them() -> None:
    phases = Phases()
    phases.add("predict", 0.5)
    phases.add("queue", 0.2, of="predict")
    assert phases.seconds == pytest.approx({"predict": 0.3, "queue": 0.2})


def test_many_threads_may_add_to_one_request() -> None:
    phases = Phases()

    def hash_pieces() -> None:
        for _ in range(2000):
            phases.add("hash", 0.5)

    threads = [threading.Thread(target=hash_pieces) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert phases.seconds == {"hash": 4000.0}


def test_the_header_has_milliseconds_in_the_order_of_the_phases() -> None:
    assert server_timing({"receive": 0.0123456, "predict": 2.0}) == "receive;dur=12.346, predict;dur=2000.000"
    assert server_timing({}) == ""
