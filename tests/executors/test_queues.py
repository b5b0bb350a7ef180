"""For any sequence of calls, no bound of a queue is passed, and calls of one key stay in order."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway import Batch
from gateway.errors import Unavailable
from gateway.executors.queues import Queue
from tests.examples import examples


class Call:
    """One call, compared by identity and not by value."""

    def __init__(self, key: str, since: float) -> None:
        self.key, self.since = key, since
        self.renewed: float | None = None
        """The time at which the first run ended after its arrival."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call)

    __hash__ = None


class Line(RuleBasedStateMachine):
    """Calls of a few keys arrive and end in any order, with a clock that the test owns."""

    @initialize(
        places=st.one_of(st.none(), st.integers(0, 3)),
        max_queue=st.integers(0, 5),
        batch=st.one_of(
            st.none(), st.builds(Batch, max_size=st.integers(1, 4), max_wait_ms=st.sampled_from([0.0, 500]))
        ),
    )
    def open(self, places: int | None, max_queue: int, batch: Batch | None) -> None:
        self.queue: Queue[Call] = Queue(places=places, max_queue=max_queue, batch=batch)
        self.waiting: list[Call] = []
        self.running: list[list[Call]] = []
        self.now = 0.0

    @property
    def room(self) -> int:
        """How many may wait: those of the queue, or of one batch that has a place to go to."""
        free = self.queue.places is None or len(self.running) < self.queue.places
        return max(self.queue.max_queue, self.queue.max_size if free else 0)

    @rule(key=st.sampled_from("ab"))
    def submit(self, key: str) -> None:
        call = Call(key, self.now)
        if len(self.waiting) >= self.room:
            assert self.queue.full
            with pytest.raises(Unavailable) as refusal:
                self.queue.submit(call, key, self.now)
            assert int(refusal.value.headers()["Retry-After"]) >= 1
        else:
            assert not self.queue.full
            self.queue.submit(call, key, self.now)
            self.waiting.append(call)

    @rule()
    def take(self) -> None:
        before, due = list(self.waiting), self.queue.due()
        taken = self.queue.take(self.now)
        if not taken:
            assert due is None or due > self.now or not before or self._may_fill(before)
            return
        self.running.append(taken)
        self.waiting = [one for one in before if not any(one is other for other in taken)]
        assert len(taken) <= self.queue.max_size
        assert len({id(one) for one in taken}) == len(taken)
        if self.queue.max_size > 1:
            assert len({one.key for one in taken}) == 1
            expected = [one for one in before if one.key == taken[0].key]
        else:
            expected = before
        assert all(one is other for one, other in zip(taken, expected, strict=False))

    def _may_fill(self, waiting: list[Call]) -> bool:
        return self.queue.places is not None and len(self.running) >= self.queue.places

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.waiting) - 1))
        call = self.waiting.pop(index)
        assert self.queue.drop(call)
        assert not self.queue.drop(call)

    @rule()
    def drop_a_stranger(self) -> None:
        assert not self.queue.drop(Call("a", 0.0))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), seconds=st.one_of(st.none(), st.floats(0.001, 100)))
    def finish(self, data: st.DataObject, seconds: float | None) -> None:
        calls = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.queue.finish(len(calls), seconds, self.now)
        for one in self.waiting:
            one.renewed = self.now if one.renewed is None else one.renewed

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.4, 1.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def wait_until_due(self) -> None:
        due = self.queue.due()
        if due is not None:
            self.now = max(self.now, due)
            before = len(self.waiting)
            self.take()
            assert len(self.waiting) < before  # what is due is there

    @rule(places=st.integers(0, 3))
    def change_places(self, places: int) -> None:
        if self.queue.places is not None:
            self.queue.places = places

    @rule()
    def clear(self) -> None:
        assert all(one is other for one, other in zip(self.queue.clear(), self.waiting, strict=True))
        self.waiting = []

    @invariant()
    def counts_are_true_and_bounds_hold(self) -> None:
        if not hasattr(self, "queue"):
            return
        assert len(self.queue) == len(self.waiting)
        assert self.queue.taken == len(self.running)
        assert self.queue.running == sum(map(len, self.running))
        assert len(self.waiting) <= max(self.queue.max_queue, self.queue.max_size)
        due = self.queue.due()
        assert due is None or due <= min(one.renewed or one.since for one in self.waiting) + 0.5
        assert self.queue.wait() > 0


Line.TestCase.settings = settings(deadline=None, max_examples=examples(150), stateful_step_count=40)
TestLine = Line.TestCase


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=50))
def test_the_usual_time_lies_between_the_shortest_and_the_longest(times: list[float]) -> None:
    queue: Queue[int] = Queue(places=1, max_queue=1000)
    for seconds in times:
        queue.submit(0, "", 0.0)
        assert queue.take(0.0) == [0]
        queue.finish(1, seconds, 0.0)
    assert min(times) * 0.999 <= queue.service_seconds <= max(times) * 1.001


@pytest.mark.parametrize(
    ("waiting", "places", "size", "expected"), [(0, 1, 1, 10), (6, 1, 1, 60), (6, 2, 1, 30), (6, 1, 3, 20)]
)
def test_a_refusal_names_the_time_in_which_pending_calls_are_served(
    waiting: int, places: int, size: int, expected: int
) -> None:
    queue: Queue[int] = Queue(places=places, max_queue=100, batch=Batch(max_size=size) if size > 1 else None)
    queue.taken = places + 1
    queue.finish(0, 10.0, 0.0)
    for number in range(waiting):
        queue.submit(number, "", 0.0)
    assert queue.refusal().retry_after == math.ceil(queue.wait()) == expected


def test_the_key_of_the_first_pending_call_runs_first_once_it_is_due() -> None:
    queue: Queue[str] = Queue(places=1, max_queue=9, batch=Batch(max_size=3, max_wait_ms=100))
    for now, name in ((0.0, "a1"), (0.01, "b1"), (0.02, "b2"), (0.03, "a2")):
        queue.submit(name, name[0], now)
    assert queue.take(0.05) == []
    assert queue.due() == pytest.approx(0.1)
    assert queue.take(0.11) == ["a1", "a2"]
    assert queue.due() is None  # the one place is taken
    queue.finish(2, 0.1, 0.12)
    assert queue.due() == pytest.approx(0.22)  # who was in that run may come again
    assert queue.take(0.23) == ["b1", "b2"]


def test_a_rare_key_is_not_passed_over_for_ever_by_a_busy_one() -> None:
    queue: Queue[str] = Queue(places=1, max_queue=9, batch=Batch(max_size=2, max_wait_ms=100))
    queue.submit("rare", "rare", 0.01)
    taken: list[str] = []
    for turn in range(6):
        now = 0.09 * (turn + 1)
        for _ in range(2):
            queue.submit("busy", "busy", now - 0.01)
        taken += (calls := queue.take(now))
        queue.finish(len(calls), 0.08, now + 0.08)
    assert taken[:2] == ["busy", "busy"]
    assert "rare" in taken
