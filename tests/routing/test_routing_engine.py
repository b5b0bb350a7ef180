"""Studies from their arrival to their results: complete, once for the same instances, and never in a circle."""

import hashlib
import io
import json
from typing import Any

import pytest
from pydicom import Dataset

from gateway.errors import StorageFull
from gateway.runs.lifecycle import RunState
from gateway.studies import instance_rows, routing_rows, tables
from gateway.studies.forgetting import forget
from gateway.studies.manifests import ManifestEntry
from gateway.studies.routing_rows import RoutingState, content_of
from tests.dicom.studies import image, uid
from tests.peers.scripted import Asked, response, scripted
from tests.routing.conftest import OWNER, RULES, RoutingBench
from tests.studies.files import File, file, files

TWICE = """
[rules.again]
callers = ["*"]
match = {Modality = "CT"}
model = "/lungs"
caller = "research"
destinations = ["pacs"]
quiet_seconds = 40
"""


def complete(routing: RoutingBench, sent: list[File], **sender: Any) -> None:
    """Send files, and let the study fall quiet."""
    routing.send(sent, **sender)
    routing.clock.now += 10
    routing.route()


def held(dataset: Dataset) -> File:
    """A dataset as a file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    sop, series, study = map(str, (dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID))
    return File(ManifestEntry(sop, series, study, len(data), hashlib.sha256(data).hexdigest()), data)


def states(routing: RoutingBench) -> list[RoutingState]:
    return [one.state for one in routing.routings()]


def returned(routing: RoutingBench) -> list[File]:
    """The results of rules as files of a sender."""
    with routing.store.index.reading() as connection:
        held = instance_rows.held(connection, OWNER, 0.0)
        own = routing_rows.own(connection, [one.sop_instance_uid for one in held])
    of_rules = [one for one in held if one.sop_instance_uid in own]
    sent = []
    for one, opened in zip(of_rules, routing.store.open_instances(of_rules), strict=True):
        uids = one.sop_instance_uid, one.series_instance_uid, one.study_instance_uid
        with opened:
            sent.append(File(ManifestEntry(*uids, one.size, one.sha256), opened.read()))
    return sent


def test_a_study_that_fell_quiet_is_analysed_and_its_results_are_queued(routing: RoutingBench) -> None:
    routing.send(files(3))
    routing.route()
    routing.clock.now += 9
    routing.send(files(4)[:1])
    routing.clock.now += 9
    routing.route()
    assert routing.calls == []
    routing.clock.now += 1
    routing.route()
    assert routing.calls == [4]
    (done,) = routing.routings()
    assert (done.state, done.sentence, done.tries) == (RoutingState.DONE, "", 1)
    (delivery,) = routing.deliveries()
    assert (delivery.destination, delivery.run_key) == ("pacs", done.run_key)
    assert len(returned(routing)) == done.results > 0
    (one,) = routing.rounds()
    assert (one.state, one.content, one.instances) == ("complete", done.content, 4)


def test_the_same_study_sent_again_is_neither_a_round_nor_a_run(routing: RoutingBench) -> None:
    for association in ("one", "two", "three"):
        complete(routing, files(3), association=association)
    assert (routing.calls, len(routing.rounds()), len(routing.deliveries())) == ([3], 1, 1)


def test_late_instances_make_a_round_that_replaces_the_one_before(routing: RoutingBench) -> None:
    complete(routing, files(3))
    complete(routing, files(5), title="CT2", association="two")
    assert routing.calls == [3, 5]
    assert [(one.number, one.replaces, one.instances) for one in routing.rounds()] == [(1, 0, 3), (2, 1, 5)]
    assert len(routing.deliveries()) == 2


def test_late_instances_of_another_series_do_not_run_the_model_again(routing: RoutingBench) -> None:
    complete(routing, files(3))
    complete(routing, [file("plan", series="dose", modality="RTPLAN")])
    assert (routing.calls, len(routing.rounds())) == ([3], 2)
    assert routing.rounds()[1].verdicts["lungs"].startswith("It took the same instances")


def test_results_that_return_start_no_rule(routing: RoutingBench) -> None:
    complete(routing, files(3))
    results = returned(routing)
    complete(routing, results, title="CT2", association="two")
    complete(routing, results, title="CT2", association="three", caller="ct2")
    complete(routing, results, title="", caller="web")
    assert (routing.calls, len(routing.rounds())) == ([3], 1)
    complete(routing, files(4), association="four")
    assert (routing.calls, routing.rounds()[1].instances) == ([3, 4], 4)


def test_a_study_that_never_falls_quiet_is_complete_at_its_ceiling(routing: RoutingBench) -> None:
    for one in files(21):
        assert routing.calls == []
        routing.send([one])
        routing.route()
        routing.clock.now += 5
    assert routing.calls == [21]


def test_the_end_of_its_associations_completes_a_study(open_routing: Any) -> None:
    routing: RoutingBench = open_routing(RULES + "association_end = true\n")
    first, second = routing.send(files(3)[:2], association="one"), routing.send(files(3)[2:], association="two")
    routing.arriving.end(first)
    routing.route()
    assert routing.calls == []
    routing.arriving.end(second)
    routing.route()
    assert routing.calls == [3]


def test_what_no_rule_takes_is_explained(routing: RoutingBench) -> None:
    complete(routing, files(3, modality="MR"))
    (one,) = routing.rounds()
    assert (one.state, one.routings) == ("complete", ())
    assert "Modality" in one.verdicts["lungs"]


def test_a_refusal_of_the_model_is_final_and_has_its_sentence(open_routing: Any) -> None:
    routing: RoutingBench = open_routing(RULES.replace("/lungs", "/thick"))
    complete(routing, files(3))
    (one,) = routing.routings()
    assert (one.state, one.tries) == (RoutingState.REFUSED, 1)
    assert "100" in one.sentence
    assert routing.runs.get(one.caller, one.run).state is RunState.REFUSED


def test_a_failure_is_retried_after_a_pause_and_then_waits_for_a_person(routing: RoutingBench) -> None:
    routing.faults = 2
    complete(routing, files(3))
    assert (states(routing), routing.calls) == ([RoutingState.PENDING], [3])
    routing.clock.now += 29
    routing.route()
    assert routing.calls == [3]
    routing.clock.now += 1
    routing.route()
    assert (states(routing), routing.calls) == ([RoutingState.FAILED], [3, 3])
    routing.clock.now += 1000
    routing.route()
    assert routing.calls == [3, 3]
    with routing.store.index.writing() as connection:
        assert routing_rows.retry(connection, None, routing.clock.now) == 1
    routing.route()
    assert (states(routing), routing.calls) == ([RoutingState.DONE], [3, 3, 3])


def test_rules_take_a_study_for_their_own_callers_each_in_its_time(open_routing: Any) -> None:
    routing: RoutingBench = open_routing(RULES + TWICE)
    complete(routing, files(3))
    assert (routing.calls, routing.rounds()[0].state) == ([3], "arriving")
    routing.clock.now += 30
    routing.route()
    assert (routing.calls, routing.rounds()[0].state) == ([3, 3], "complete")
    assert {one.caller for one in routing.routings()} == {OWNER, "research"}
    with routing.store.index.reading() as connection:
        digests = {one.sha256 for one in instance_rows.held(connection, "research", 0.0)}
    assert digests >= {one.entry.sha256 for one in files(3)}


def test_studies_that_arrive_at_once_are_told_apart(routing: RoutingBench) -> None:
    for one, other in zip(files(3), files(3, study="other"), strict=True):
        routing.send([one, other])
    routing.clock.now += 10
    routing.route()
    assert routing.calls == [3, 3]
    (mine,), (others,) = routing.routings(), routing.routings("other")
    assert mine.content == content_of(one.entry.sha256 for one in files(3))
    assert others.content == content_of(one.entry.sha256 for one in files(3, study="other"))


def test_several_processes_route_a_study_once(open_routing: Any) -> None:
    first, second = open_routing(), open_routing()
    first.send(files(3))
    first.clock.now += 10
    claimed = first.claim()
    assert not second.turn()
    claimed.work()
    second.route()
    assert second.calls == [3]
    assert len(second.deliveries()) == 1


def test_what_a_dead_process_has_begun_is_done_by_another(open_routing: Any) -> None:
    dead, living = open_routing(), open_routing()
    dead.send(files(3))
    dead.clock.now += 10
    assert dead.claim() is not None  # and it dies with the round
    living.route()
    assert living.calls == []
    living.clock.now += 30
    living.turn()
    assert dead.claim() is not None  # and with the routing
    living.route()
    assert living.calls == []
    living.clock.now += 30
    living.route()
    assert living.calls == [3]
    assert len(living.deliveries()) == 1


def test_a_run_that_was_submitted_by_a_dead_process_is_the_same_run(routing: RoutingBench) -> None:
    routing.send(files(3))
    routing.clock.now += 10
    routing.turn()
    with routing.store.index.writing() as connection:
        kept = routing_rows.claim(connection, "dead", routing.clock.now, 30.0)
    assert kept is not None
    routing.clock.now += 30
    routing.route()
    with routing.store.index.writing() as connection:
        connection.execute(tables.routings.update().values(state="pending", tries=0, due_at=0.0))
    routing.route()
    assert (routing.calls, states(routing)) == ([3], [RoutingState.DONE])
    assert len(routing.deliveries()) == 1


def test_a_rule_that_left_the_file_waits_for_a_person(open_routing: Any) -> None:
    before: RoutingBench = open_routing()
    before.send(files(3))
    before.clock.now += 10
    before.turn()
    after: RoutingBench = open_routing(RULES.replace("rules.lungs", "rules.chest"))
    after.route()
    assert (after.calls, states(after)) == ([], [RoutingState.FAILED])


def test_a_forgotten_study_leaves_no_round(routing: RoutingBench) -> None:
    complete(routing, files(3))
    forget(routing.store, uid("study", "study"), OWNER)
    assert routing.rounds() == []
    complete(routing, files(3), association="two")
    assert len(routing.rounds()) == 1


def test_http_arrivals_are_taken_by_their_caller(routing: RoutingBench) -> None:
    complete(routing, files(3), title="", caller="somebody")
    assert routing.calls == []
    complete(routing, files(3), title="", caller="web")
    assert routing.calls == [3]


def test_a_full_store_keeps_what_waits_for_its_rule(routing: RoutingBench) -> None:
    routing.send(files(3))
    with routing.store.index.writing() as connection, pytest.raises(StorageFull):
        routing.store.retention.make_room(connection, OWNER, routing.settings.store_max_bytes - 1)
    routing.clock.now += 10
    routing.route()
    with routing.store.index.writing() as connection:
        connection.execute(tables.deliveries.delete())
        routing.store.retention.make_room(connection, OWNER, routing.settings.store_max_bytes - 1)
    with routing.store.index.reading() as connection:
        assert instance_rows.held(connection, OWNER, 0.0) == []


def test_an_instance_that_a_model_returns_as_it_is_stays_a_part_of_its_study(open_routing: Any) -> None:
    routing: RoutingBench = open_routing(RULES.replace("/lungs", "/echo"))
    complete(routing, files(3))
    (one,) = routing.routings()
    assert (one.state, one.results, routing.deliveries()) == (RoutingState.DONE, 0, [])
    complete(routing, files(4), association="two")
    assert [one.instances for one in routing.rounds()] == [3, 4]


def test_a_series_that_states_nonsense_keeps_no_other_from_its_model(routing: RoutingBench) -> None:
    dataset = image(series="odd", frames=2)
    dataset.Modality, dataset.NumberOfFrames = "OT", -2
    dataset.StudyInstanceUID = uid("study", "study")
    complete(routing, [*files(3), held(dataset)])
    assert (routing.calls, states(routing)) == ([3], [RoutingState.DONE])


def test_a_study_is_complete_at_the_number_of_instances_that_a_peer_states(open_routing: Any) -> None:
    stated = [2, 3]

    def answer(_asked: Asked) -> list[bytes]:
        found = {"0020000D": {"vr": "UI", "Value": [uid("study", "study")]}, "00201208": {"vr": "IS", "Value": stated}}
        return response(200, json.dumps([found]).encode())

    with scripted(answer) as peer:
        routing: RoutingBench = open_routing(RULES + 'count_from = "pacs"\n', peer.port)
        routing.send(files(3)[:2])
        stated.pop(0)
        routing.route()
        assert (routing.calls, len(peer.asked)) == ([], 1)
        routing.clock.now += 1
        routing.send(files(3)[2:])
        routing.clock.now += 4
        routing.route()
        assert (routing.calls, len(peer.asked)) == ([3], 2)
