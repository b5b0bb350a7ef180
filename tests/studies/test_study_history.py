"""The way of studies as an operator sees it: the stage of each round, and what a person may have tried again."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from gateway.studies import round_rows, study_history
from gateway.studies.arrival_rows import Sender
from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.routing_rows import RoutingState
from gateway.studies.store import Store
from gateway.studies.study_history import Retried, Stage
from tests.studies import arrived

NOW = 1_000_000.0


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    with store.index.writing() as opened:
        arrived.every_stage(opened, NOW)
        yield opened


def stages(connection: Connection) -> dict[str, Stage]:
    names = ("done", "dead", "failed", "untaken", "working", "arriving")
    uids = {arrived.study(name): name for name in names}
    return {uids[each.round.study_instance_uid]: each.stage for each in study_history.recent(connection, 10)}


def test_each_round_is_at_one_stage_and_the_latest_comes_first(connection: Connection) -> None:
    assert list(stages(connection).items()) == [
        ("arriving", Stage.ARRIVING),
        ("working", Stage.WORKING),
        ("untaken", Stage.UNTAKEN),
        ("failed", Stage.ATTENTION),
        ("dead", Stage.ATTENTION),
        ("done", Stage.DONE),
    ]
    numbers = study_history.stage_numbers(connection)
    assert numbers == {Stage.ATTENTION: 2} | dict.fromkeys(set(Stage) - {Stage.ATTENTION}, 1)
    for stage in Stage:
        found = study_history.recent(connection, 10, stage=stage)
        assert [each.stage for each in found] == [stage] * numbers[stage]


def test_the_numbers_for_metrics_are_those_of_the_rows(connection: Connection) -> None:
    found = study_history.numbers(connection, NOW)
    assert found.rounds == {"arriving": 1, "complete": 5}
    assert (found.oldest_round, found.latest_arrival, found.oldest_routing) == (5.0, 5.0, 60.0)
    assert {state: count for state, count in found.routings.items() if count} == {
        "done": 2,
        "failed": 1,
        "refused": 1,
        "running": 1,
    }


def test_a_page_begins_where_the_one_before_ends(connection: Connection) -> None:
    first = study_history.recent(connection, 4)
    rest = study_history.recent(connection, 4, before=first[-1].round.latest_at)
    assert len({each.round.id for each in [*first, *rest]}) == 6


def test_a_study_is_shown_for_each_caller_with_its_rounds_arrivals_and_deliveries(connection: Connection) -> None:
    arrived.arrive(connection, "dead", NOW, caller="viewer", title="")
    round_rows.arrived(connection, Sender("b" * 32, "CT2", "ct1"), arrived.study("dead"), new=True, now=NOW)
    ct1, viewer = study_history.of_study(connection, arrived.study("dead"))
    assert (ct1.caller, viewer.caller) == ("ct1", "viewer")
    assert [(each.round.number, each.round.replaces, each.stage) for each in ct1.rounds] == [
        (1, 0, Stage.ATTENTION),
        (2, 1, Stage.ARRIVING),
    ]
    assert [each.sender for each in ct1.arrivals] == ["CT1"]
    ends = {each.destination: each.state for each in ct1.rounds[0].all_deliveries}
    assert ends == {"pacs": DeliveryState.DELIVERED, "archive": DeliveryState.DEAD}
    assert study_history.of_study(connection, "1.2.3") == []


def test_what_waits_for_a_person_is_tried_again_and_nothing_else(connection: Connection) -> None:
    assert study_history.retry_study(connection, arrived.study("done"), "", NOW) == Retried(routings=0, deliveries=0)
    assert study_history.retry_study(connection, arrived.study("dead"), "", NOW) == Retried(routings=0, deliveries=1)
    assert study_history.retry_study(connection, arrived.study("failed"), "", NOW) == Retried(routings=1, deliveries=0)
    assert stages(connection)["failed"] is stages(connection)["dead"] is Stage.WORKING
    (failed,) = study_history.recent(connection, 1, stage=Stage.WORKING, before=NOW - 1000)
    assert {each.rule: each.state for each in failed.round.routings} == {
        "lungs": RoutingState.PENDING,
        "nodules": RoutingState.REFUSED,
    }
    found = study_history.retry_study(connection, arrived.study("failed"), "nodules", NOW)
    assert found == Retried(routings=1, deliveries=0)


def test_all_that_waits_is_tried_again_at_once(connection: Connection) -> None:
    assert study_history.retry_all(connection, NOW) == Retried(routings=1, deliveries=1)
    assert study_history.stage_numbers(connection)[Stage.ATTENTION] == 0
