"""For any sequence of events, at most one process more than wanted runs, and a working one stays."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.executors.replicas import CRASHES, Phase, Replicas, Start, Stop
from tests.examples import examples

COOLDOWN = 30.0


class Life(RuleBasedStateMachine):
    """Processes start, get ready, answer, die and are renewed in any order; orders are carried out as they arrive."""

    @initialize(wanted=st.integers(1, 3))
    def open(self, wanted: int) -> None:
        self.replicas = Replicas(wanted, cooldown=COOLDOWN)
        self.now = 0.0
        self.alive: set[int] = set()
        self.ready_ones: set[int] = set()
        self.told_to_stop: set[int] = set()
        self.carry_out()

    def carry_out(self) -> None:
        while orders := self.replicas.plan(self.now):
            for order in orders:
                if isinstance(order, Start):
                    assert order.number not in self.alive
                    self.alive.add(order.number)
                else:
                    serving = self.ready_ones - self.told_to_stop
                    assert order.number in self.alive - self.told_to_stop
                    self.told_to_stop.add(order.number)
                    # a process that answers is told to stop only where as many others as wanted do, or are to come
                    assert order.number not in serving or len(serving) > 1 or self.replicas.wanted == 0

    @precondition(lambda self: self.starting)
    @rule(data=st.data())
    def get_ready(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.starting)))
        self.ready_ones.add(number)
        self.replicas.ready(number)
        self.carry_out()

    @property
    def starting(self) -> set[int]:
        return self.alive - self.ready_ones - self.told_to_stop

    @precondition(lambda self: self.alive - self.told_to_stop)
    @rule(data=st.data(), for_good=st.booleans())
    def die(self, data: st.DataObject, for_good: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.alive - self.told_to_stop)))
        restarts = self.replicas.restarts
        assert self.replicas.died(number, "it died", self.now, for_good=for_good and number in self.starting)
        assert self.replicas.restarts == restarts + 1
        self.alive.discard(number)
        self.ready_ones.discard(number)
        self.carry_out()

    @precondition(lambda self: self.told_to_stop)
    @rule(data=st.data())
    def end_as_told(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.told_to_stop)))
        restarts = self.replicas.restarts
        assert not self.replicas.died(number, "it died", self.now)
        assert self.replicas.restarts == restarts
        for numbers in (self.alive, self.ready_ones, self.told_to_stop):
            numbers.discard(number)
        self.carry_out()

    @precondition(lambda self: self.ready_ones)
    @rule()
    def answer(self) -> None:
        self.replicas.answered()
        self.carry_out()

    @rule()
    def renew(self) -> None:
        self.replicas.renew(
            max([self.replicas.generation, *(one.generation for one in self.replicas.members.values())]) + 1
        )
        self.carry_out()

    @rule(seconds=st.sampled_from([1.0, COOLDOWN]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out()

    @invariant()
    def no_more_than_one_above_what_is_wanted(self) -> None:
        assert set(self.replicas.members) == self.alive
        assert len(self.alive) <= self.replicas.wanted + 1
        assert len(self.told_to_stop) <= 1

    @invariant()
    def what_answers_is_what_got_ready_and_was_not_told_to_stop(self) -> None:
        assert set(self.replicas.ready_numbers()) == self.ready_ones - self.told_to_stop
        assert self.replicas.serving == len(self.replicas.ready_numbers())

    @invariant()
    def the_state_is_true(self) -> None:
        state, reason = self.replicas.state(self.now)
        if state == "ready":
            assert not reason or "the former serves on" in reason
            assert self.replicas.serving >= self.replicas.wanted
        else:
            assert reason
        if state in ("starting", "failed"):
            assert not self.replicas.serving
        if state == "failed":
            assert self.replicas.resting(self.now)
            wake = self.replicas.wake(self.now)
            assert wake is not None
            assert self.now < wake <= self.now + COOLDOWN
        if state == "starting":
            assert self.alive  # something is under way

    def teardown(self) -> None:
        """The fleet recovers: if every process gets ready and answers from now on, all wanted ones run."""
        if not hasattr(self, "replicas"):
            return  # it was ended before it was opened
        for _ in range(20):
            self.now += COOLDOWN
            for number in sorted(self.told_to_stop):
                self.replicas.died(number, "", self.now)
                for numbers in (self.alive, self.ready_ones, self.told_to_stop):
                    numbers.discard(number)
            self.carry_out()
            for number in sorted(self.starting):
                self.ready_ones.add(number)
                self.replicas.ready(number)
            if self.ready_ones:
                self.replicas.answered()
            self.carry_out()
        assert self.replicas.serving == self.replicas.wanted == len(self.alive)
        assert {one.generation for one in self.replicas.members.values()} == {self.replicas.generation}


Life.TestCase.settings = settings(deadline=None, max_examples=examples(150), stateful_step_count=40)
TestLife = Life.TestCase


def begun(wanted: int) -> Replicas:
    """A fleet whose processes are all ready."""
    replicas = Replicas(wanted, cooldown=COOLDOWN)
    for order in replicas.plan(0.0):
        replicas.ready(order.number)
    return replicas


def test_without_room_for_two_versions_the_former_ends_before_the_next_starts() -> None:
    held: list[int] = []

    def reserve(number: int, generation: int) -> bool:
        if len(held) < 2:
            held.append(number)
            return True
        return False

    replicas = Replicas(2, cooldown=COOLDOWN, reserve=reserve)
    for order in replicas.plan(0.0):
        replicas.ready(order.number)
    replicas.renew(1)
    assert replicas.plan(1.0) == [Stop(1)]
    assert replicas.plan(1.0) == []  # one after another
    replicas.died(1, "", 2.0)
    assert replicas.plan(2.0, ending=True) == []  # its memory is not free yet
    held.remove(1)
    (started,) = replicas.plan(3.0)
    assert isinstance(started, Start)
    replicas.ready(started.number)
    assert replicas.plan(4.0) == [Stop(2)]


def test_a_process_waits_for_what_it_needs_and_reports_it() -> None:
    free: list[bool] = []
    replicas = Replicas(1, cooldown=COOLDOWN, reserve=lambda number, generation: bool(free))
    assert replicas.plan(0.0) == []
    assert replicas.state(0.0) == ("starting", "it waits for memory of its device")
    free.append(True)
    assert len(replicas.plan(1.0)) == 1


def test_what_cannot_be_placed_fails_at_first_and_leaves_the_former_at_a_reload() -> None:
    refused = Replicas(0, cooldown=COOLDOWN)
    refused.refuse("it does not fit")
    assert refused.state(0.0) == ("failed", "it does not fit")
    replicas = begun(1)
    replicas.refuse("it does not fit")
    assert replicas.plan(1.0) == []
    state, reason = replicas.state(1.0)
    assert (state, "it does not fit" in reason) == ("ready", True)


def test_a_process_that_dies_is_replaced_at_once() -> None:
    replicas = begun(2)
    replicas.died(1, "it was ended by SIGSEGV", 1.0)
    assert replicas.state(1.0) == ("degraded", "it was ended by SIGSEGV")
    assert replicas.plan(1.0) == [Start(3)]
    replicas.ready(3)
    assert replicas.state(1.0) == ("ready", "")


def test_so_many_deaths_in_a_row_open_the_breaker_and_one_process_is_tried_after_its_time() -> None:
    replicas = begun(2)
    for number in range(1, CRASHES + 1):
        assert replicas.state(1.0)[0] != "failed"
        replicas.died(number, "it exited with status 7", 1.0)
        if number < CRASHES:
            replicas.plan(1.0)
    assert replicas.plan(1.0) == []
    replicas.died(CRASHES + 1, "it exited with status 7", 1.0)
    state, reason = replicas.state(1.0)
    assert state == "failed"
    assert "in a row" in reason
    assert replicas.plan(1.0 + COOLDOWN - 0.1) == []
    assert replicas.wake(1.0) == 1.0 + COOLDOWN
    (first,) = replicas.plan(1.0 + COOLDOWN)
    replicas.ready(first.number)
    assert replicas.plan(1.0 + COOLDOWN) == []  # one alone, until it has answered
    replicas.answered()
    assert len(replicas.plan(1.0 + COOLDOWN)) == 1


def test_a_death_between_answers_is_not_in_a_row() -> None:
    replicas = begun(1)
    for number in range(1, 3 * CRASHES):
        replicas.died(number, "it died", 1.0)
        (order,) = replicas.plan(1.0)
        replicas.ready(order.number)
        replicas.answered()
        assert replicas.state(1.0) == ("ready", "")


def test_a_setup_that_raised_is_not_tried_again_before_its_time() -> None:
    replicas = begun(1)
    replicas.died(1, "it died", 1.0)
    (order,) = replicas.plan(1.0)
    replicas.died(order.number, "RuntimeError: no weights", 2.0, for_good=True)
    assert replicas.plan(2.0) == []
    assert replicas.state(2.0) == ("failed", "RuntimeError: no weights; it is tried again in 30 s")


def test_a_new_generation_replaces_the_former_one_by_one_each_ready_before_the_next_drains() -> None:
    replicas, seen = begun(2), []
    replicas.renew(1)
    for _ in range(2):
        (start,) = replicas.plan(1.0)
        assert isinstance(start, Start)
        assert replicas.plan(1.0) == []
        replicas.ready(start.number)
        assert replicas.serving == 3
        (stop,) = replicas.plan(1.0)
        assert isinstance(stop, Stop)
        assert replicas.plan(1.0) == []  # nothing more until it has ended
        replicas.died(stop.number, "it exited with status 0", 1.0)
        seen.append((start.number, stop.number))
    assert seen == [(3, 1), (4, 2)]
    assert replicas.plan(1.0) == []
    assert replicas.state(1.0) == ("ready", "")
    assert replicas.restarts == 0


def test_a_generation_that_does_not_start_leaves_the_former_serving_and_is_reported_until_the_next() -> None:
    replicas = begun(1)
    replicas.renew(1)
    (start,) = replicas.plan(1.0)
    replicas.died(start.number, "RuntimeError: no weights", 1.0, for_good=True)
    replicas.answered()
    assert replicas.plan(2.0) == []
    assert replicas.ready_numbers() == [1]
    state, reason = replicas.state(2.0)
    assert state == "ready"  # as many as wanted answer: no reason to send nobody here
    assert "RuntimeError: no weights" in reason
    replicas.renew(2)
    (start,) = replicas.plan(3.0)
    replicas.ready(start.number)
    assert replicas.plan(3.0) == [Stop(1)]
    replicas.died(1, "", 3.0)
    assert replicas.state(3.0) == ("ready", "")


def test_the_death_of_a_former_process_does_not_affect_the_new_generation() -> None:
    replicas = begun(2)
    replicas.died(1, "it died", 1.0)
    (third,) = replicas.plan(1.0)
    replicas.renew(1)
    replicas.died(third.number, "it died", 1.0)
    assert replicas.generation == 1


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.READY])
def test_a_replica_that_gets_ready_after_it_was_stopped_does_not_count(phase: Phase) -> None:
    replicas = begun(1)
    number = next(iter(replicas.members))
    replicas.members[number].phase = phase
    replicas.members.pop(number)
    replicas.ready(number)
    assert replicas.serving == 0


def test_what_a_process_waits_for_is_its_models_reason_until_its_setup_begins() -> None:
    replicas = Replicas(2, cooldown=COOLDOWN)
    first, second = (order.number for order in replicas.plan(0.0))
    replicas.wait(first, "it waits for 1 GPU; the cluster has 0")
    assert replicas.state(0.0) == ("starting", "it waits for 1 GPU; the cluster has 0")
    replicas.ready(second)
    assert replicas.state(0.0) == ("degraded", "it waits for 1 GPU; the cluster has 0")
    replicas.wait(first, "")
    assert replicas.state(0.0) == ("degraded", "1 of 2 processes answer")
