"""Deliveries in the index: queued once, leased to one try at a time, over when each instance is; and what they keep."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import Connection

from gateway.errors import StorageFull
from gateway.studies import delivery_rows
from gateway.studies.delivery_rows import UNAVAILABLE, Delivery, DeliveryState
from gateway.studies.forgetting import forget
from gateway.studies.index import Index
from gateway.studies.store import Store
from tests.studies.conftest import Clock, OpenStore
from tests.studies.files import File, files, states, upload

PAIRS = [("1.2.1", "a" * 64), ("1.2.2", "b" * 64)]
DELIVERED, DEAD, PENDING = DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.PENDING


def queue(
    connection: Connection, destination: str = "pacs", study: str = "1.2", run_key: str = "", now: float = 0
) -> str:
    values = {"caller": "one", "destination": destination, "study": study, "run_key": run_key}
    return delivery_rows.queue(connection, instances=PAIRS, now=now, **values)


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    with store.index.writing() as opened:
        yield opened


def test_the_same_result_is_queued_once(connection: Connection) -> None:
    id = queue(connection)
    assert queue(connection, now=5) == id
    others = {queue(connection, "archive"), queue(connection, study="1.3"), queue(connection, run_key="r" * 64)}
    assert len(others | {id}) == 4
    assert [each.id for each in delivery_rows.of_study(connection, "one", "1.2") if each.destination == "pacs"][0] == id
    assert delivery_rows.of_study(connection, "other", "1.2") == []
    assert [each.run_key for each in delivery_rows.of_runs(connection, ["r" * 64])] == ["r" * 64]


def claimed(connection: Connection, now: float = 0, lease: float = 60) -> Delivery:
    found = delivery_rows.claim(connection, now, lease, ())
    assert found is not None
    return found


def test_what_failed_alone_is_tried_again_and_revived(connection: Connection) -> None:
    id = queue(connection)
    first = claimed(connection)
    assert delivery_rows.claim(connection, 59, 60, ()) is None
    delivery_rows.record(connection, first, {"1.2.1": (DELIVERED, "stored"), "1.2.2": (PENDING, "refused-A700")})
    assert delivery_rows.settle(connection, first, "partly", 1, 10) is PENDING
    second = claimed(connection, 10)
    delivery_rows.record(connection, second, {"1.2.1": (DEAD, "late"), "1.2.2": (DEAD, "refused-0122")})
    assert delivery_rows.settle(connection, second, "refused", 11, 20) is DEAD
    assert [(each.state, each.outcome) for each in delivery_rows.instances_of(connection, id)] == [
        (DELIVERED, "stored"),
        (DEAD, "refused-0122"),
    ]
    assert delivery_rows.revive(connection, ["dlv_other"], 12) == 0
    assert delivery_rows.revive(connection, [id], 12) == 1
    third = claimed(connection, 12)
    assert third.tries == 1
    delivery_rows.record(connection, third, {"1.2.2": (DELIVERED, "stored")})
    assert delivery_rows.settle(connection, third, "stored", 13, 20) is DELIVERED
    assert delivery_rows.due_at(connection) is None


def test_a_try_whose_lease_ended_changes_nothing(connection: Connection) -> None:
    id = queue(connection)
    lost = claimed(connection)
    assert delivery_rows.renew(connection, lost, 60, 70)
    assert delivery_rows.claim(connection, 69, 60, ()) is None
    held = claimed(connection, 70)
    assert not delivery_rows.renew(connection, lost, 70, 500)
    assert not delivery_rows.record(connection, lost, {"1.2.1": (DEAD, "late")})
    assert delivery_rows.settle(connection, lost, "late", 71, None) is None
    delivery_rows.give_back(connection, lost, 71)
    assert delivery_rows.get(connection, id) == held
    delivery_rows.give_back(connection, held, 71)
    assert claimed(connection, 71).tries == 2


def test_a_try_that_has_an_outcome_has_no_lease_to_renew(connection: Connection) -> None:
    queue(connection)
    first = claimed(connection)
    assert delivery_rows.settle(connection, first, "away", 5, 10) is PENDING
    assert not delivery_rows.renew(connection, first, 60, 120)
    assert delivery_rows.due_at(connection) == 10


def test_what_waits_for_a_destination_that_was_away_is_due_at_once(connection: Connection) -> None:
    for study in ("1.2", "1.3", "1.4"):
        queue(connection, study=study)
    queue(connection, "archive")
    away, refused = claimed(connection), claimed(connection)
    delivery_rows.settle(connection, away, UNAVAILABLE, 1, 900)
    delivery_rows.settle(connection, refused, "refused-A700", 1, 900)
    claimed(connection)  # under way
    assert delivery_rows.hasten(connection, "archive", 2) == 0
    assert delivery_rows.hasten(connection, "pacs", 2) == 1
    found = delivery_rows.get(connection, away.id)
    assert found is not None
    assert (found.next_at, found.tries) == (2, 1)
    assert {name: backlog.pending for name, backlog in delivery_rows.backlogs(connection).items()} == {
        "pacs": 3,
        "archive": 1,
    }


def to_peer(store: Store, sent: list[File], clock: Clock, caller: str = "one") -> str:
    """Queue a caller's stored files, which are of one study."""
    pairs = [(one.entry.sop_instance_uid, one.entry.sha256) for one in sent]
    study = sent[0].entry.study_instance_uid
    with store.index.writing() as connection:
        return delivery_rows.queue(
            connection, caller=caller, destination="pacs", study=study, instances=pairs, now=clock()
        )


def end(store: Store, id: str, state: DeliveryState) -> None:
    with store.index.writing() as connection:
        found = claimed(connection, 1e12)
        assert found.id == id
        delivery_rows.record(
            connection,
            found,
            {each.sop_instance_uid: (state, "") for each in delivery_rows.instances_of(connection, id)},
        )
        assert delivery_rows.settle(connection, found, "", 1e12, None) is state


def test_what_waits_for_its_delivery_is_neither_evicted_nor_expired(open_store: OpenStore, clock: Clock) -> None:
    sent, more = files(3, study="sent"), files(3, study="more")
    size = sum(len(one.data) for one in sent)
    store = open_store(store_max_bytes=size + size // 2, store_max_age=1000.0)
    upload(store, "one", sent)
    id = to_peer(store, sent, clock)
    clock.now += 500
    with pytest.raises(StorageFull):
        upload(store, "one", more)
    clock.now += 10_000
    with store.index.writing() as connection:
        store.retention.tidy(connection)
        assert len(delivery_rows.instances_of(connection, id)) == 3
    assert [path.stat().st_size for path in (store.folder / "instances").rglob("*") if path.is_file()] != []
    end(store, id, DELIVERED)
    upload(store, "one", more)
    assert set(states(store, "one", more)) == {"present"}


@pytest.mark.parametrize("everybody", [False, True])
def test_forgetting_a_study_takes_its_deliveries_and_counts_those_that_were_pending(
    store: Store, clock: Clock, everybody: bool
) -> None:
    sent = files(2)
    for caller in ("one", "other"):
        upload(store, caller, sent)
    ids = {caller: to_peer(store, sent, clock, caller) for caller in ("one", "other")}
    record = forget(store, sent[0].entry.study_instance_uid, "one", everybody=everybody)
    assert record.counts["deliveries"] == 1 + everybody
    with store.index.reading() as connection:
        left = [caller for caller, id in ids.items() if delivery_rows.get(connection, id) is not None]
        assert left == ([] if everybody else ["other"])


def test_ended_deliveries_are_removed_by_age(open_store: OpenStore, clock: Clock) -> None:
    store = open_store(store_max_age=1000.0)
    sent = files(1)
    upload(store, "one", sent)
    id = to_peer(store, sent, clock)
    with store.index.writing() as connection:
        found = claimed(connection, clock())
        delivery_rows.settle(connection, found, "timeout", clock(), None)
        clock.now += 1001
        store.retention.tidy(connection)
        assert delivery_rows.get(connection, id) is None


STATES = st.sampled_from(list(DeliveryState))


class Deliveries(RuleBasedStateMachine):
    """Tries of several processes on a few deliveries, in any order, against what each should come to."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = ExitStack()
        folder = self.opened.enter_context(TemporaryDirectory())
        self.index = Index(Path(folder))
        self.opened.callback(self.index.close)
        self.now = 0.0
        self.flying: list[Delivery] = []
        self.ended: dict[tuple[str, str], DeliveryState] = {}

    def teardown(self) -> None:
        self.opened.close()

    @rule(destination=st.sampled_from(["pacs", "archive"]), study=st.sampled_from(["1.2", "1.3"]))
    def queue(self, destination: str, study: str) -> None:
        with self.index.writing() as connection:
            queue(connection, destination, study, now=self.now)

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(busy=st.sampled_from([(), ("pacs",)]))
    def claim(self, busy: tuple[str, ...]) -> None:
        with self.index.writing() as connection:
            found = delivery_rows.claim(connection, self.now, 60, busy)
        if found is not None:
            assert found.destination not in busy
            assert found.state is PENDING
            others = [each for each in self.flying if each.id == found.id]
            assert all(self.now >= each.next_at for each in others), "two hold one lease"
            self.flying.append(found)

    @rule(
        data=st.data(),
        states=st.lists(st.sampled_from(list(DeliveryState)), min_size=2, max_size=2),
        last=st.booleans(),
    )
    def finish(self, data: st.DataObject, states: list[DeliveryState], last: bool) -> None:
        if not self.flying:
            return
        mine = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        outcomes = {uid: (state, "tried") for (uid, _), state in zip(PAIRS, states, strict=True)}
        with self.index.writing() as connection:
            row = delivery_rows.get(connection, mine.id)
            held = delivery_rows.record(connection, mine, outcomes)
            after = delivery_rows.settle(connection, mine, "tried", self.now, None if last else self.now + 10)
        assert held == (after is not None)
        assert row is not None
        assert held == (row.tries == mine.tries and row.state is PENDING and row.next_at == mine.next_at)

    @rule()
    def revive(self) -> None:
        with self.index.writing() as connection:
            dead = delivery_rows.listed(connection, DEAD, 100)
            assert delivery_rows.revive(connection, None, self.now) == len(dead)
        gone = {each.id for each in dead}
        self.flying = [each for each in self.flying if each.id not in gone]

    @rule(destination=st.sampled_from(["pacs", "archive"]))
    def hasten(self, destination: str) -> None:
        with self.index.writing() as connection:
            delivery_rows.hasten(connection, destination, self.now)

    @invariant()
    def a_delivery_is_over_when_its_instances_are_and_what_is_delivered_stays_so(self) -> None:
        with self.index.reading() as connection:
            found = delivery_rows.listed(connection, None, 100)
            instances = {each.id: delivery_rows.instances_of(connection, each.id) for each in found}
        assert len({(each.destination, each.study_instance_uid) for each in found}) == len(found)
        for delivery in found:
            states = {each.state for each in instances[delivery.id]}
            assert (delivery.ended_at is None) == (delivery.state is PENDING)
            assert (delivery.state is DELIVERED) == (states == {DELIVERED})
            assert delivery.state is PENDING or PENDING not in states
            for each in instances[delivery.id]:
                key = delivery.id, each.sop_instance_uid
                assert self.ended.get(key) is not DELIVERED or each.state is DELIVERED
                self.ended[key] = each.state


TestDeliveryRows = Deliveries.TestCase
TestDeliveryRows.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
