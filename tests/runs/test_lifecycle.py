"""The states of a run: whatever processes do to it, and whenever they die, it ends once."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.runs.lifecycle import EXECUTING, LONGEST_PAUSE, RunState, RunStatus
from tests.examples import examples

HOLDERS = st.sampled_from(["a", "b", "c"])
ENDS = st.sampled_from([RunState.FINISHED, RunState.REFUSED, RunState.FAILED, RunState.CANCELLED])
LEASE, MOST = 30.0, 3


class OneRun(RuleBasedStateMachine):
    """A run, three processes and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.status, self.now = RunStatus(), 1_000.0
        self.died = 0
        self.ended: RunStatus | None = None

    def take(self, status: RunStatus | None) -> None:
        self.status = status or self.status

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(holder=HOLDERS)
    def a_process_claims_it(self, holder: str) -> None:
        before, self.status = self.status, self.status.claim(holder, self.now, LEASE) or self.status
        if self.status is not before:
            assert before.state is RunState.QUEUED
            assert self.status.held_by(holder)
            assert not before.cancelling

    @rule(holder=HOLDERS, seconds=st.floats(0, 5))
    def it_is_given_back(self, holder: str, seconds: float) -> None:
        self.take(self.status.give_back(holder, self.now + seconds))

    @rule(holder=HOLDERS)
    def its_model_dies(self, holder: str) -> None:
        if (status := self.status.retry(holder, MOST)) is not None:
            self.died += self.status.state is RunState.RUNNING
            self.status = status

    @rule()
    def its_lease_is_over(self) -> None:
        if (status := self.status.expire(self.now, MOST)) is not None:
            assert self.now >= self.status.lease_until
            self.died += self.status.state is RunState.RUNNING
            self.status = status

    @precondition(lambda self: self.status.holder)
    @rule()
    def its_process_dies_for_good(self) -> None:
        self.now = max(self.now, self.status.lease_until)
        status = self.status.expire(self.now, MOST)
        assert status is not None
        assert not status.holder
        self.died += self.status.state is RunState.RUNNING
        self.status = status

    @rule(holder=HOLDERS)
    def it_asks(self, holder: str) -> None:
        self.take(self.status.ask(holder))

    @precondition(lambda self: self.status.state is RunState.WAITING)
    @rule(holder=HOLDERS)
    def it_is_parked(self, holder: str) -> None:
        """Its question stays, whatever becomes of the process that asked it."""
        held, cancelling = self.status.held_by(holder), self.status.cancelling
        status = self.status.give_back(holder, self.now)
        assert (status is not None) is held
        self.take(status)
        assert not held or cancelling or self.status.parked

    @rule()
    def it_is_answered(self) -> None:
        before, status = self.status, self.status.answer()
        assert (status is not None) is (before.state is RunState.WAITING)
        self.take(status)
        if before.parked:
            assert self.status.state is RunState.QUEUED
        elif status is not None:
            assert self.status.state is RunState.RUNNING
            assert self.status.holder == before.holder

    @rule()
    def it_is_cancelled(self) -> None:
        if not self.status.state.ended:
            status = self.status.cancel()
            assert status is not None
            self.status = status

    @rule(holder=HOLDERS, state=ENDS)
    def a_process_ends_it(self, holder: str, state: RunState) -> None:
        held = self.status.held_by(holder)
        status = self.status.end(holder, state)
        assert (status is not None) is held
        self.take(status)

    @invariant()
    def it_ends_once(self) -> None:
        if self.ended is not None:
            assert self.status == self.ended
        elif self.status.state.ended:
            self.ended = self.status

    @invariant()
    def only_an_executing_run_has_a_holder(self) -> None:
        assert bool(self.status.holder) is (self.status.state in EXECUTING and not self.status.parked)

    @invariant()
    def it_is_tried_so_often_and_no_more(self) -> None:
        assert 0 <= self.died <= self.status.attempts <= MOST or self.status.cancelling

    @invariant()
    def a_cancelled_run_is_not_queued(self) -> None:
        assert not (self.status.cancelling and (self.status.state is RunState.QUEUED or self.status.parked))


TestOneRun = OneRun.TestCase
TestOneRun.settings = settings(max_examples=examples(60))


def test_the_moves_of_a_run_that_has_ended_are_refused() -> None:
    ended = RunStatus(state=RunState.FINISHED)
    moves = [ended.claim("a", 0, 1), ended.expire(1e9, 3), ended.cancel(), ended.end("a", RunState.FAILED)]
    assert [*moves, ended.give_back("a", 0), ended.retry("a", 3), ended.ask("a"), ended.answer()] == [None] * 8


def test_a_clock_that_is_put_back_delays_no_queued_run() -> None:
    begun = RunStatus().claim("a", 1e9, LEASE)
    assert begun is not None
    given_back = begun.give_back("a", 1e9 + LONGEST_PAUSE)
    assert given_back is not None
    assert given_back.claim("b", 1e9, LEASE) is None
    for queued in (RunStatus(), begun.retry("a", MOST), begun.expire(2e9, MOST), given_back):
        assert queued is not None
        assert queued.claim("b", 0, LEASE) is not None
