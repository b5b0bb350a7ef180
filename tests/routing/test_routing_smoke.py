"""A study from dcmtk's sender to dcmtk's receiver, through both processes of a gateway."""

from pathlib import Path

import pytest

from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.routing_rows import RoutingState
from tests.conftest import Serve
from tests.routing.whole_way import whole_way
from tests.studies.files import files
from tests.waiting import eventually

pytestmark = pytest.mark.server


def test_a_study_that_is_sent_comes_back_with_its_results(tmp_path: Path, serve: Serve) -> None:
    with whole_way(tmp_path, serve) as way:
        way.send(way.write("study", files(3)))
        (routing,) = way.ended()
        assert (routing.state, routing.sentence) == (RoutingState.DONE, "")
        assert eventually(lambda: len(way.receiver.received) == routing.results)
        assert eventually(lambda: [one.state for one in way.deliveries()] == [DeliveryState.DELIVERED])
        assert way.slices() == [3]
        for name in way.receiver.received:
            (way.folder / "pacs" / name).rename(way.folder / "pacs" / f"{name}.dcm")
        way.send(way.folder / "pacs")  # results that return start nothing, and are not refused
        assert len(way.rounds()) == 1
