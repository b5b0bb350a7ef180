"""What a radiologist finds where a rule's model has analysed nothing."""

import io
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import BasicTextSRStorage, SecondaryCaptureImageStorage

from gateway.studies import routing_rows
from gateway.studies.routing_rows import RoutingState
from tests.routing.conftest import RULES, RoutingBench
from tests.routing.test_routing_engine import returned
from tests.studies.files import files

REFUSING = RULES.replace("/lungs", "/thick")


def own(routing: RoutingBench) -> list[Dataset]:
    """The objects that rules have made."""
    return [dcmread(io.BytesIO(one.data)) for one in returned(routing)]


def complete(routing: RoutingBench, **sender: Any) -> None:
    routing.send(files(3), **sender)
    routing.clock.now += 10
    routing.route()


@pytest.mark.parametrize(("form", "sop_class"), [("sr", BasicTextSRStorage), ("capture", SecondaryCaptureImageStorage)])
def test_a_refusal_becomes_an_object_that_is_delivered(open_routing: Any, form: str, sop_class: str) -> None:
    routing: RoutingBench = open_routing(f'{REFUSING}notice = "{form}"\n')
    complete(routing)
    (notice,) = own(routing)
    assert (notice.SOPClassUID, notice.StudyInstanceUID) == (sop_class, files(1)[0].entry.study_instance_uid)
    (one,), (delivery,) = routing.routings(), routing.deliveries()
    assert (one.state, one.results, delivery.destination) == (RoutingState.REFUSED, 1, "pacs")


def test_a_failure_becomes_one_only_when_it_is_not_retried_any_more(open_routing: Any) -> None:
    routing: RoutingBench = open_routing(f'{RULES}notice = "sr"\n')
    routing.faults = 3
    complete(routing)
    assert own(routing) == []
    routing.clock.now += 30
    routing.route()
    (notice,) = own(routing)
    with routing.store.index.writing() as connection:  # a person retries it, and it fails as before
        routing_rows.retry(connection, None, routing.clock.now)
    routing.route()
    assert [one.SOPInstanceUID for one in own(routing)] == [notice.SOPInstanceUID]
    (one,) = routing.routings()
    assert (one.state, one.tries) == (RoutingState.FAILED, 3)


def test_a_notice_that_returns_starts_no_rule(open_routing: Any) -> None:
    routing: RoutingBench = open_routing(f'{REFUSING}notice = "sr"\n')
    complete(routing)
    routing.send(returned(routing), association="two")
    routing.clock.now += 10
    routing.route()
    assert (len(routing.rounds()), len(routing.routings()), len(own(routing))) == (1, 1, 1)


def test_without_a_notice_nothing_is_stored(open_routing: Any) -> None:
    routing: RoutingBench = open_routing(REFUSING)
    complete(routing)
    assert (own(routing), routing.deliveries()) == ([], [])
