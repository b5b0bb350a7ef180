"""The whole way while processes are killed, neighbours are away, and the store is full: nothing lost, nothing twice."""

import signal
from pathlib import Path

import pytest

from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.routing_rows import RoutingState
from tests.apps.routing import STAGES
from tests.conftest import Serve
from tests.routing.whole_way import RULES, Way, whole_way
from tests.studies.files import files
from tests.waiting import eventually

pytestmark = [pytest.mark.server, pytest.mark.slow]


def assert_once(way: Way, slices: int, study: object = "study") -> None:
    """One routing of a study is done, and each of its results was received once."""
    (routing,) = way.ended(1, study)
    assert (routing.state, routing.sentence) == (RoutingState.DONE, "")
    eventually(lambda: [one.state for one in way.deliveries(study)] == [DeliveryState.DELIVERED])
    assert routing.results > 0
    assert way.rounds(study)[0].instances == slices


@pytest.mark.parametrize("stage", STAGES)
def test_a_server_that_is_killed_at_a_stage_loses_nothing(tmp_path: Path, serve: Serve, stage: str) -> None:
    with whole_way(tmp_path, serve, TEST_STAGE=stage) as way:
        way.send(way.write("study", files(3)))
        eventually(lambda: (way.notes / "died").exists())
        assert_once(way, 3)
        assert set(way.slices()) == {3}
        (routing,) = way.routings()
        assert len(way.receiver.received) == routing.results


def test_a_server_that_is_down_while_a_study_arrives_routes_it_afterwards(tmp_path: Path, serve: Serve) -> None:
    with whole_way(tmp_path, serve) as way:
        way.kill_server()
        way.send(way.write("study", files(3)))
        assert way.routings() == []
        way.start_server()
        assert_once(way, 3)
        assert way.slices() == [3]


def test_a_receiver_of_associations_that_is_killed_takes_the_study_when_it_is_sent_again(
    tmp_path: Path, serve: Serve
) -> None:
    rules = RULES + "quiet_seconds = 3\n"
    with whole_way(tmp_path, serve, rules) as way:
        folder = way.write("study", files(200))
        sender = way.sender(folder)
        eventually(lambda: way.network.instances >= 20)
        way.network.kill()
        assert sender.wait() != 0
        way.start_network()
        way.send(folder)
        eventually(lambda: way.slices()[-1:] == [200])
        routings = way.ended(len(way.routings()))
        assert way.slices().count(200) == 1
        assert {one.state for one in routings} == {RoutingState.DONE}


def test_a_sender_that_breaks_off_half_way_makes_a_round_that_the_rest_replaces(tmp_path: Path, serve: Serve) -> None:
    rules = RULES.replace("association_end = true", "quiet_seconds = 2")
    with whole_way(tmp_path, serve, rules) as way:
        folder = way.write("study", files(300))
        sender = way.sender(folder)
        eventually(lambda: way.network.instances >= 20)
        sender.send_signal(signal.SIGKILL)
        sender.wait()
        (half,) = way.ended()
        assert 0 < way.slices()[0] < 300
        way.send(folder)
        whole = [one for one in way.ended(2) if one.id != half.id]
        assert ([one.state for one in whole], way.slices()[1:]) == ([RoutingState.DONE], [300])
        assert [one.replaces for one in way.rounds()] == [0, 1]


def test_the_same_study_three_times_and_two_interleaved_are_each_analysed_once(tmp_path: Path, serve: Serve) -> None:
    with whole_way(tmp_path, serve) as way:
        one, other = files(20), files(20, study="other")
        mixed = [each for pair in zip(one, other, strict=True) for each in pair]
        folder = way.write("mixed", mixed)
        for _ in range(3):
            way.send(folder)
        for study in ("study", "other"):
            assert_once(way, 20, study)
        assert way.slices() == [20, 20]


def test_a_destination_that_is_down_for_a_while_receives_everything_once_it_is_up(tmp_path: Path, serve: Serve) -> None:
    with whole_way(tmp_path, serve) as way:
        way.receiver.stop()
        way.send(way.write("study", files(3)))
        way.ended()
        eventually(lambda: [one.tries > 0 for one in way.deliveries()] == [True])
        way.send(way.write("other", files(3, study="other")))
        way.ended(1, "other")
        way.receiver.start()
        for study in ("study", "other"):
            assert_once(way, 3, study)


def test_a_full_store_routes_the_study_once_there_is_room(tmp_path: Path, serve: Serve) -> None:
    sent = files(3)
    size = sum(len(one.data) for one in sent)
    with whole_way(tmp_path, serve, GATEWAY_STORE_MAX_BYTES=str(size + 100)) as way:
        way.send(way.write("study", sent))
        eventually(lambda: "waits" in way.server.log)
        assert way.slices() == []
        way.server.stop()
        way.environ["GATEWAY_STORE_MAX_BYTES"] = str(1 << 30)
        way.start_server()
        assert_once(way, 3)
        assert way.slices() == [3]
