"""Whatever dies, starts or is renewed: never more processes than one above what is wanted, and one that works stays."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.executors.fleet import CRASHES, Fleet, Phase, Start, Stop

COOLDOWN = 30.0


class Life(RuleBasedStateMachine):
    """Processes start, get ready, answer, die and are renewed in any order; orders are carried out as they come."""

    @initialize(wanted=st.integers(1, 3))
    def open(self, wanted: int) -> None:
        self.fleet = Fleet(wanted, cooldown=COOLDOWN)
        self.now = 0.0
        self.alive: set[int] = set()
        self.ready_ones: set[int] = set()
        self.told_to_stop: set[int] = set()
        self.carry_out()

    def carry_out(self) -> None:
        while orders := self.fleet.plan(self.now):
            for order in orders:
                if isinstance(order, Start):
                    assert order.number not in self.alive
                    self.alive.add(order.number)
                else:
                    serving = self.ready_ones - self.told_to_stop
                    assert order.number in self.alive - self.told_to_stop
                    self.told_to_stop.add(order.number)
                    # a process that answers is told to stop only where as many others as wanted do, or are to come
                    assert order.number not in serving or len(serving) > 1 or self.fleet.wanted == 0

    @precondition(lambda self: self.starting)
    @rule(data=st.data())
    def get_ready(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.starting)))
        self.ready_ones.add(number)
        self.fleet.ready(number)
        self.carry_out()

    @property
    def starting(self) -> set[int]:
        return self.alive - self.ready_ones - self.told_to_stop

    @precondition(lambda self: self.alive - self.told_to_stop)
    @rule(data=st.data(), for_good=st.booleans())
    def die(self, data: st.DataObject, for_good: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.alive - self.told_to_stop)))
        restarts = self.fleet.restarts
        assert self.fleet.died(number, "it died", self.now, for_good=for_good and number in self.starting)
        assert self.fleet.restarts == restarts + 1
        self.alive.discard(number)
        self.ready_ones.discard(number)
        self.carry_out()

    @precondition(lambda self: self.told_to_stop)
    @rule(data=st.data())
    def end_as_told(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.told_to_stop)))
        restarts = self.fleet.restarts
        assert not self.fleet.died(number, "it died", self.now)
        assert self.fleet.restarts == restarts
        for numbers in (self.alive, self.ready_ones, self.told_to_stop):
            numbers.discard(number)
        self.carry_out()

    @precondition(lambda self: self.ready_ones)
    @rule()
    def answer(self) -> None:
        self.fleet.answered()
        self.carry_out()

    @rule()
    def renew(self) -> None:
        self.fleet.renew(max([self.fleet.generation, *(one.generation for one in self.fleet.members.values())]) + 1)
        self.carry_out()

    @rule(seconds=st.sampled_from([1.0, COOLDOWN]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out()

    @invariant()
    def no_more_than_one_above_what_is_wanted(self) -> None:
        if hasattr(self, "fleet"):
            assert set(self.fleet.members) == self.alive
            assert len(self.alive) <= self.fleet.wanted + 1
            assert len(self.told_to_stop) <= 1

    @invariant()
    def what_answers_is_what_got_ready_and_was_not_told_to_stop(self) -> None:
        if hasattr(self, "fleet"):
            assert set(self.fleet.ready_numbers()) == self.ready_ones - self.told_to_stop
            assert self.fleet.serving == len(self.fleet.ready_numbers())

    @invariant()
    def the_state_is_true(self) -> None:
        if not hasattr(self, "fleet"):
            return
        state, reason = self.fleet.state(self.now)
        if state == "ready":
            assert not reason or "the former serves on" in reason
            assert self.fleet.serving >= self.fleet.wanted
        else:
            assert reason
        if state in ("starting", "failed"):
            assert not self.fleet.serving
        if state == "failed":
            assert self.fleet.resting(self.now)
            wake = self.fleet.wake(self.now)
            assert wake is not None
            assert self.now < wake <= self.now + COOLDOWN
        if state == "starting":
            assert self.alive  # something is under way

    def teardown(self) -> None:
        """It heals: were every process to get ready and answer from now on, all that are wanted would be there."""
        if not hasattr(self, "fleet"):
            return
        for _ in range(20):
            self.now += COOLDOWN
            for number in sorted(self.told_to_stop):
                self.fleet.died(number, "", self.now)
                for numbers in (self.alive, self.ready_ones, self.told_to_stop):
                    numbers.discard(number)
            self.carry_out()
            for number in sorted(self.starting):
                self.ready_ones.add(number)
                self.fleet.ready(number)
            if self.ready_ones:
                self.fleet.answered()
            self.carry_out()
        assert self.fleet.serving == self.fleet.wanted == len(self.alive)
        assert {one.generation for one in self.fleet.members.values()} == {self.fleet.generation}


Life.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
TestLife = Life.TestCase


def begun(wanted: int) -> Fleet:
    """A fleet whose processes are all ready."""
    fleet = Fleet(wanted, cooldown=COOLDOWN)
    for order in fleet.plan(0.0):
        fleet.ready(order.number)
    return fleet


def test_a_process_that_dies_is_replaced_at_once() -> None:
    fleet = begun(2)
    fleet.died(1, "it was ended by SIGSEGV", 1.0)
    assert fleet.state(1.0) == ("degraded", "it was ended by SIGSEGV")
    assert fleet.plan(1.0) == [Start(3)]
    fleet.ready(3)
    assert fleet.state(1.0) == ("ready", "")


def test_so_many_deaths_in_a_row_open_the_breaker_and_one_process_is_tried_after_its_time() -> None:
    fleet = begun(2)
    for number in range(1, CRASHES + 1):
        assert fleet.state(1.0)[0] != "failed"
        fleet.died(number, "it exited with status 7", 1.0)
        if number < CRASHES:
            fleet.plan(1.0)
    assert fleet.plan(1.0) == []
    fleet.died(CRASHES + 1, "it exited with status 7", 1.0)
    state, reason = fleet.state(1.0)
    assert state == "failed"
    assert "in a row" in reason
    assert fleet.plan(1.0 + COOLDOWN - 0.1) == []
    assert fleet.wake(1.0) == 1.0 + COOLDOWN
    (first,) = fleet.plan(1.0 + COOLDOWN)
    fleet.ready(first.number)
    assert fleet.plan(1.0 + COOLDOWN) == []  # one alone, until it has answered
    fleet.answered()
    assert len(fleet.plan(1.0 + COOLDOWN)) == 1


def test_a_death_between_answers_is_not_in_a_row() -> None:
    fleet = begun(1)
    for number in range(1, 3 * CRASHES):
        fleet.died(number, "it died", 1.0)
        (order,) = fleet.plan(1.0)
        fleet.ready(order.number)
        fleet.answered()
        assert fleet.state(1.0) == ("ready", "")


def test_a_setup_that_raised_is_not_tried_again_before_its_time() -> None:
    fleet = begun(1)
    fleet.died(1, "it died", 1.0)
    (order,) = fleet.plan(1.0)
    fleet.died(order.number, "RuntimeError: no weights", 2.0, for_good=True)
    assert fleet.plan(2.0) == []
    assert fleet.state(2.0) == ("failed", "RuntimeError: no weights; it is tried again in 30 s")


def test_a_new_generation_replaces_the_former_one_by_one_each_ready_before_the_next_drains() -> None:
    fleet, seen = begun(2), []
    fleet.renew(1)
    for _ in range(2):
        (start,) = fleet.plan(1.0)
        assert isinstance(start, Start)
        assert fleet.plan(1.0) == []
        fleet.ready(start.number)
        assert fleet.serving == 3
        (stop,) = fleet.plan(1.0)
        assert isinstance(stop, Stop)
        assert fleet.plan(1.0) == []  # nothing more until it has ended
        fleet.died(stop.number, "it exited with status 0", 1.0)
        seen.append((start.number, stop.number))
    assert seen == [(3, 1), (4, 2)]
    assert fleet.plan(1.0) == []
    assert fleet.state(1.0) == ("ready", "")
    assert fleet.restarts == 0


def test_a_new_generation_that_does_not_start_leaves_the_former_serving_and_says_so_until_the_next() -> None:
    fleet = begun(1)
    fleet.renew(1)
    (start,) = fleet.plan(1.0)
    fleet.died(start.number, "RuntimeError: no weights", 1.0, for_good=True)
    fleet.answered()
    assert fleet.plan(2.0) == []
    assert fleet.ready_numbers() == [1]
    state, reason = fleet.state(2.0)
    assert state == "ready"  # as many as wanted answer: no reason to send nobody here
    assert "RuntimeError: no weights" in reason
    fleet.renew(2)
    (start,) = fleet.plan(3.0)
    fleet.ready(start.number)
    assert fleet.plan(3.0) == [Stop(1)]
    fleet.died(1, "", 3.0)
    assert fleet.state(3.0) == ("ready", "")


def test_the_death_of_a_former_process_says_nothing_of_the_new_generation() -> None:
    fleet = begun(2)
    fleet.died(1, "it died", 1.0)
    (third,) = fleet.plan(1.0)
    fleet.renew(1)
    fleet.died(third.number, "it died", 1.0)
    assert fleet.generation == 1


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.READY])
def test_one_that_is_told_to_stop_and_gets_ready_then_does_not_count(phase: Phase) -> None:
    fleet = begun(1)
    number = next(iter(fleet.members))
    fleet.members[number].phase = phase
    fleet.members.pop(number)
    fleet.ready(number)
    assert fleet.serving == 0
