"""Sessions in one process: clicks change the region, undo takes them back, and the end is the route's own answer."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway import Client
from gateway.client import Refused
from gateway.observe.outcomes import Outcome
from gateway.testing import client
from tests.sessions.conftest import Open, OpenApp
from tests.waiting import eventually

Study = list[Path]


def refusal(call, *args, **options) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        call(*args, **options)
    return refused.value.status, refused.value.code


def send(one: Client, session, words: dict[str, Any]) -> Any:
    """An input as any client sends it."""
    return one._transport.json("POST", f"/sessions/{session.id}/input", data=json.dumps(words), headers=JSON)


JSON = {"Content-Type": "application/json"}
AT = {"points": [{"at": [1, 2, 3]}]}


def test_clicks_change_the_region_and_undo_takes_them_back(one: Client, study: Study) -> None:
    with one.session(study, "/paint") as session:
        assert (session.state, session.question["kind"], session.mask.sum()) == ("waiting", "clicks", 0)
        assert np.argwhere(session.click((1, 2, 3), (4, 5, 6)).mask).tolist() == [[1, 2, 3], [4, 5, 6]]
        assert np.argwhere(session.click((1, 2, 3), positive=False).mask).tolist() == [[4, 5, 6]]
        assert session.undo().mask.sum() == 2
        assert session.click((7, 31, 31)).undo(2).mask.sum() == 0
        assert session.click((0, 0, 0)).reset().mask.sum() == 0


def test_a_change_names_its_box_and_its_number(one: Client, study: Study) -> None:
    with one.session(study, "/paint") as session:
        first = send(one, session, AT)["region"]
        assert (first["since"], first["sequence"], first["box"]) == (1, 2, [[1, 2, 3], [2, 3, 4]])
        assert send(one, session, AT)["region"]["box"] is None
        assert session.refresh().mask.sum() == 1


def test_the_end_is_the_answer_of_the_route(one: Client, study: Study) -> None:
    with one.session(study, "/paint") as session:
        result = session.click((1, 2, 3)).finish()
        assert np.argwhere(result.masks[0]).tolist() == [[1, 2, 3]]
        assert result.findings[0].label == "Painted"
        assert session.finish().answer.output_digest == result.answer.output_digest  # its response may be lost
        assert refusal(session.click, (1, 2, 3)) == (409, "session-conflict")
    assert refusal(session.click, (1, 2, 3)) == (404, "session-gone")


def test_a_session_has_one_outcome_like_a_request(open_app: OpenApp, study: Study) -> None:
    app, outcomes = open_app(), list[Outcome]()
    one = client(app)
    app.service.sinks.append(outcomes.append)
    with one.session(study, "/paint", {"seconds": 0.01}) as session:
        answer = session.click((1, 2, 3)).click((2, 3, 4)).finish().answer
        one.session(study, "/paint").end()
    answered, ended = eventually(lambda: outcomes if len(outcomes) == 2 else None)
    assert (answered.door, answered.status, answered.reason, answered.instances) == ("sessions", 200, "", 8)
    assert (answered.input_digest, answered.output_digest) == (answer.input_digest, answer.output_digest)
    assert answered.phases["predict"] >= 0.03
    assert min(answered.phases.values()) > -0.01
    assert (ended.door, ended.status, ended.reason) == ("sessions", 499, "cancelled")


def test_a_stored_study_is_named(open_client: Open, study: Study, tmp_path: Path) -> None:
    one = open_client(store_folder=tmp_path / "store")
    with one.session(one.upload(study), "/paint") as session:
        assert session.click((1, 2, 3)).finish().masks[0].sum() == 1
    with one.session(one.upload(study), "/paint") as session:  # its answer is not that of the other clicks
        assert session.finish().masks[0].sum() == 0


@pytest.mark.heavy
def test_a_session_answers_as_dicom_too(one: Client, study: Study) -> None:
    with one.session(study, "/paint", output="dicom") as session:
        assert session.click((1, 2, 3)).finish().json["parts"][0]["binary_type"] == "dicom"


@pytest.mark.parametrize("clicks", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_a_session_of_clicks_with_undo_is_a_run_with_the_same_points(one: Client, study: Study, clicks: int) -> None:
    random = np.random.default_rng(7)
    in_force: list[tuple[list[float], bool]] = []
    with one.session(study, "/region-growing", {"tolerance": 200}) as session:
        for number in range(clicks):
            if number % 5 == 4:
                session.undo()
                in_force.pop()
                continue
            at, positive = [float(random.integers(size)) for size in (8, 32, 32)], bool(random.random() < 0.7)
            session.click(at, positive=positive)
            in_force.append((at, positive))
        region, result = session.mask, session.finish()
    with one.session(study, "/region-growing", {"tolerance": 200}) as session:
        send(one, session, {"points": [{"at": at, "positive": positive} for at, positive in in_force]})
        at_once = session.refresh().mask
        again = session.finish()
    assert 0 < region.sum() < region.size
    assert np.array_equal(region, at_once)
    assert result.answer.output_digest == again.answer.output_digest


def test_other_questions_are_answered_before_and_between(one: Client, study: Study) -> None:
    with one.session(study, "/organs") as session:
        for name in ("liver", "spleen"):
            assert refusal(session.answer, "heart") == (422, "parameter-refused")
            assert refusal(session.finish) == (409, "session-conflict")
            session.answer(name)
            session.answer("secret")
            assert session.question["question"] == f"Click into the {name}."
            session.click((1, 1, 1))
            if name == "liver":
                assert refusal(session.finish) == (409, "session-conflict")  # another organ is asked for
                session.refresh()
        assert [mask.sum() for mask in session.finish().masks] == [1, 1]


INVALID = {
    "outside": {"points": [{"at": [8, 0, 0]}]},
    "not a number": {"points": [{"at": [float("nan"), 0, 0]}]},
    "two indices": {"points": [{"at": [0, 0]}]},
    "an unknown member": AT | {"erase": 1},
    "a box turned round": {"boxes": [{"box": [[2, 2, 2], [1, 1, 1]]}]},
    "nothing": {},
    "an undo of nothing": {"undo": 1},
    "an undo of none": {"undo": 0},
    "a false reset": {"reset": False},
    "finished": {"finished": True},
    "after nothing": AT | {"after": "x"},
    "too many": {"points": [{"at": [0, 0, 0]}] * 1001},
}


@pytest.mark.parametrize("words", INVALID.values(), ids=INVALID)
def test_an_invalid_input_is_refused_and_changes_nothing(one: Client, study: Study, words: dict[str, Any]) -> None:
    with one.session(study, "/paint") as session:
        status, _ = refusal(send, one, session, words)
        assert status in (400, 422)
        assert session.refresh().mask.sum() == 0
        assert session.click((1, 1, 1)).mask.sum() == 1


@pytest.mark.parametrize("place", [(1.5, float("nan"), 0), (1, 2), (1, 2, 3, 4)])
def test_the_client_says_what_a_place_is(one: Client, study: Study, place: tuple[float, ...]) -> None:
    with one.session(study, "/paint") as session:
        with pytest.raises(ValueError, match="three finite numbers"):
            session.click(place)
        assert session.click((1, 1, 1)).mask.sum() == 1


def test_more_points_than_a_json_may_have_are_refused_before_they_are_read(open_client: Open, study: Study) -> None:
    one = open_client(max_json_values=10_000)
    with one.session(study, "/paint") as session:
        assert refusal(send, one, session, {"points": [{"at": [0, 0, 0]}] * 2000}) == (413, "limit-exceeded")


def test_clicks_in_force_are_bounded(one: Client, study: Study) -> None:
    with one.session(study, "/paint") as session:
        session.click(*[(0, 0, 0)] * 1000)
        assert refusal(session.click, (1, 1, 1)) == (422, "parameter-refused")
        assert session.undo().click((1, 1, 1)).mask.sum() == 1


def test_a_repeated_input_is_taken_once(one: Client, study: Study) -> None:
    with one.session(study, "/paint") as session:
        first = send(one, session, AT | {"after": 1})
        assert send(one, session, AT | {"after": 1}) == first
        assert (first["points"], first["sequence"]) == (1, 2)
        assert refusal(send, one, session, {"undo": 1, "after": 1}) == (409, "session-conflict")


def test_the_client_fetches_what_it_has_missed(one: Client, study: Study) -> None:
    with one.session(study, "/paint") as session:
        send(one, session, AT)
        assert refusal(session.click, (4, 4, 4)) == (409, "session-conflict")
        assert session.refresh().click((4, 4, 4)).mask.sum() == 2


def test_inputs_at_once_are_taken_one_after_another(one: Client, study: Study) -> None:
    with one.session(study, "/paint", {"seconds": 0.02}) as session:
        places = [{"points": [{"at": [number, number, number]}]} for number in range(8)]
        threads = [threading.Thread(target=send, args=[one, session, place]) for place in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert session.refresh().mask.sum() == 8
        assert session.undo(8).mask.sum() == 0


def test_a_model_that_raises_ends_the_session_with_its_problem(one: Client, study: Study) -> None:
    with one.session(study, "/paint", {"raise_at": 2}) as session:
        session.click((1, 1, 1))
        assert refusal(session.click, (2, 2, 2)) == (500, "model-failed")
        assert refusal(session.click, (2, 2, 2)) == (500, "model-failed")
        assert session.refresh().state == "failed"


def test_a_model_that_hangs_ends_the_session_at_its_timeout(one: Client, study: Study) -> None:
    with one.session(study, "/brief", {"hang_at": 2}) as session:
        for _ in range(3):
            session.click((1, 1, 1)).undo()
        assert refusal(session.click, (1, 1, 1), (2, 2, 2)) == (504, "deadline-exceeded")


def test_time_between_clicks_does_not_count(one: Client, study: Study) -> None:
    with one.session(study, "/brief", {"seconds": 0.4}) as session:
        for _ in range(4):  # more than its timeout together
            session.click((1, 1, 1))


def test_only_a_model_that_asks_has_sessions(one: Client, study: Study) -> None:
    assert refusal(one.session, study, "/still") == (422, "parameter-refused")
    assert refusal(one.session, study, "/nowhere") == (422, "parameter-refused")


def test_a_study_that_the_model_refuses_opens_no_session(open_client: Open, study: Study) -> None:
    one = open_client(session_caller_max=1)
    for _ in range(2):
        assert refusal(one.session, [study[0], study[5], study[7]], "/paint") == (422, "study-refused")


def test_sessions_are_bounded_in_number(open_client: Open, study: Study) -> None:
    one = open_client(sessions=2, session_caller_max=9)
    with one.session(study, "/paint") as first, one.session(study, "/paint"):
        with pytest.raises(Refused) as refused:
            one.session(study, "/paint")
        assert (refused.value.status, refused.value.retry_after) == (503, 10)
        first.finish()  # an answer that can be asked for again is no open session
        one.session(study, "/paint").end()


def test_sessions_are_bounded_for_each_caller(open_client: Open, study: Study) -> None:
    one = open_client(session_caller_max=1)
    with one.session(study, "/paint"):
        assert refusal(one.session, study, "/paint") == (429, "too-many-requests")


def test_sessions_are_bounded_in_bytes(open_client: Open, study: Study) -> None:
    one = open_client(session_max_bytes=50_000)
    with one.session(study, "/paint"):
        assert refusal(one.session, study, "/paint") == (503, "unavailable")


def test_an_idle_session_ends(open_app: OpenApp, study: Study) -> None:
    app = open_app(session_idle=0.5)
    session = client(app).session(study, "/paint")
    assert eventually(lambda: not app.sessions.count)
    assert refusal(session.click, (1, 1, 1)) == (404, "session-gone")


def test_a_busy_session_ends_with_its_life(open_client: Open, study: Study) -> None:
    one = open_client(session_life=0.5)
    session = one.session(study, "/paint")
    with pytest.raises(Refused, match="404"):
        while True:
            session.click((1, 1, 1)).undo()


def test_a_session_that_waits_gives_its_place_to_a_request(one: Client, study: Study) -> None:
    with one.session(study, "/one") as session, one.session(study, "/one") as other:
        for number in (1, 2):
            assert session.click((number, 1, 1)).mask.sum() == number
            assert other.click((number, 2, 2)).mask.sum() == number
        assert len(session.finish().masks) == len(other.finish().masks) == 1


def test_a_secret_is_asked_for_again_and_clicks_are_not(one: Client, study: Study) -> None:
    with one.session(study, "/organs") as session:
        session.answer("liver").answer("secret").click((1, 1, 1))
        with one.session(study, "/organs"):  # it has the only place of the model by now
            pass
        assert session.click((2, 2, 2)).question["kind"] == "password"
        assert session.mask.sum() == 1
        assert session.answer("secret").mask.sum() == 2
        assert session.click((3, 3, 3)).mask.sum() == 3
        assert session.undo().mask.sum() == 2


def test_there_are_no_routes_where_no_model_asks(open_client: Open, study: Study) -> None:
    one = open_client(sessions=0)
    assert refusal(one.session, study, "/paint")[0] == 404
