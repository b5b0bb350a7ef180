"""Places and bytes are counted right whatever becomes of a request, and no bound is passed."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from gateway import Settings
from gateway.errors import DeadlineExceeded, StorageFull, Unavailable
from gateway.intake.admission import Admission, Ticket
from tests.examples import examples

BUDGET, PLACES = 1000, 3


class Doors(RuleBasedStateMachine):
    """Requests arrive, announce, send, and end in any order; refused ones are not counted."""

    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(Settings(max_bytes_in_flight=BUDGET))
        self.admission.max_requests = PLACES
        self.held: dict[Ticket, int] = {}
        self.received: dict[Ticket, int] = {}
        self.lent: set[Ticket] = set()

    @rule(target=tickets)
    def enter(self) -> object:
        if len(self.held) - len(self.lent) == PLACES:
            with pytest.raises(Unavailable) as refusal:
                self.admission.enter()
            assert int(refusal.value.headers()["Retry-After"]) > 0
            return multiple()
        ticket = self.admission.enter()
        self.held[ticket] = self.received[ticket] = 0
        return ticket

    @rule(ticket=tickets, count=st.integers(0, BUDGET + 1))
    def announce(self, ticket: Ticket, count: int) -> None:
        self._grow(ticket, count, lambda: ticket.expect(count))

    @rule(ticket=tickets, count=st.integers(0, BUDGET // 2))
    def send(self, ticket: Ticket, count: int) -> None:
        self.received[ticket] += count
        more = max(0, self.received[ticket] - self.held[ticket])
        self._grow(ticket, more, lambda: ticket.receive(count))

    def _grow(self, ticket: Ticket, count: int, act: object) -> None:
        assert callable(act)
        if sum(self.held.values()) + count > BUDGET:
            with pytest.raises(Unavailable):
                act()
        else:
            act()
            self.held[ticket] += count

    @rule(ticket=tickets)
    def lend(self, ticket: Ticket) -> None:
        ticket.lend()
        self.lent.add(ticket)

    @rule(ticket=tickets)
    def reclaim(self, ticket: Ticket) -> None:
        if ticket in self.lent and len(self.held) - len(self.lent) == PLACES:
            with pytest.raises(DeadlineExceeded):
                ticket.reclaim(deadline=0.0)
        else:
            ticket.reclaim(deadline=0.0)
            self.lent.discard(ticket)

    @rule(ticket=consumes(tickets), times=st.integers(1, 3))
    def leave(self, ticket: Ticket, times: int) -> None:
        for _ in range(times):
            ticket.leave()
        del self.held[ticket], self.received[ticket]
        self.lent.discard(ticket)

    @invariant()
    def counts_are_those_of_the_requests_within(self) -> None:
        assert self.admission.requests == len(self.held) - len(self.lent) <= PLACES
        assert self.admission.bytes == sum(self.held.values()) <= BUDGET

    def teardown(self) -> None:
        for ticket in self.held:
            ticket.leave()
        assert (self.admission.requests, self.admission.bytes) == (0, 0)


Doors.TestCase.settings = settings(deadline=None, max_examples=examples(60), stateful_step_count=30)
TestDoors = Doors.TestCase


def test_without_a_bound_any_number_of_requests_is_admitted() -> None:
    admission = Admission(Settings())
    assert len([admission.enter() for _ in range(1000)]) == admission.requests == 1000


def test_announced_bytes_are_not_counted_again_as_they_arrive() -> None:
    admission = Admission(Settings())
    ticket = admission.enter()
    ticket.expect(100)
    for _ in range(10):
        ticket.receive(10)
    assert admission.bytes == 100
    ticket.receive(5)
    assert admission.bytes == 105


def test_a_request_that_lent_its_place_has_the_next_before_any_new_one() -> None:
    admission = Admission(Settings())
    admission.max_requests = 1
    slow = admission.enter()
    slow.lend()
    other = admission.enter()
    waiting = threading.Thread(target=slow.reclaim)
    waiting.start()
    while not admission.returning:
        time.sleep(0.001)
    other.leave()
    waiting.join()
    with pytest.raises(Unavailable):
        admission.enter()
    slow.leave()
    assert admission.requests == 0


def test_a_spooled_body_needs_room_on_disk_announced_or_in_pieces(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    huge = 8 * free
    admission = Admission(Settings(spool_folder=tmp_path, spool_threshold=1000, max_bytes_in_flight=4 * huge))
    with pytest.raises(StorageFull):
        admission.enter().expect(huge)
    chunked = admission.enter()
    chunked.receive(1001)
    with pytest.raises(StorageFull):
        chunked.receive(huge)
    assert admission.bytes == 1001


def test_small_pieces_that_cross_the_threshold_reserve_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is below the threshold; their sum is not."""
    full = os.statvfs(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(full.f_blocks, full.f_blocks, 0))
    ticket = Admission(Settings(spool_folder=tmp_path, spool_threshold=1000)).enter()
    for _ in range(10):
        ticket.receive(100)
    with pytest.raises(StorageFull):
        ticket.receive(100)


def test_what_stays_in_memory_needs_no_room_on_disk(tmp_path: Path) -> None:
    admission = Admission(Settings(spool_folder=tmp_path / "not there", spool_threshold=1000))
    admission.enter().expect(1000)
    assert admission.bytes == 1000


def test_counts_return_to_zero_from_many_threads() -> None:
    admission = Admission(Settings(max_bytes_in_flight=50_000))
    admission.max_requests = 6
    outcomes = {"served": 0, "refused": 0}
    lock = threading.Lock()

    def client() -> None:
        for _ in range(200):
            try:
                ticket = admission.enter()
            except Unavailable:
                outcome = "refused"
            else:
                try:
                    ticket.expect(10_000)
                    ticket.receive(12_000)
                    outcome = "served"
                except Unavailable:
                    outcome = "refused"
                finally:
                    ticket.leave()
            with lock:
                outcomes[outcome] += 1

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (admission.requests, admission.bytes) == (0, 0)
    assert sum(outcomes.values()) == 1600
    assert outcomes["served"] > 0
