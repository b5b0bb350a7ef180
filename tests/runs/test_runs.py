"""Runs in one process, and in several that share a store, on each database."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.errors import (
    BrokenBody,
    BrokenJSON,
    GatewayError,
    ModelFailed,
    ParameterRefused,
    RunCancelled,
    RunConflict,
    RunGone,
    RunIdRefused,
    RunNotFound,
    RunNotReady,
    RunNotWaiting,
    StorageFull,
    StudyNotFound,
    StudyRefused,
    TooManyRequests,
    UnsupportedMedia,
)
from gateway.intake.body import Body
from gateway.runs.attempts import Attempt
from gateway.runs.lifecycle import RunState
from gateway.studies.forgetting import forget
from gateway.wire import OutgoingPart, encode
from tests.runs.conftest import CALLER, Bench, body, words
from tests.studies.files import files, upload
from tests.waiting import PATIENCE, eventually


def test_a_run_has_the_answer_of_its_route(bench: Bench) -> None:
    run, new = bench.submitted("quick", body({"a": 1}, b"abc", b"de"), "one")
    assert (run.state, new) == (RunState.QUEUED, True)
    assert bench.ended(run).state is RunState.FINISHED
    stored = bench.runs.result(CALLER, "one")
    assert b'"sizes": [3, 2]' in bytes(stored.result.json_bytes)
    client = bench.app.test_client()
    sent = body({"a": 1}, b"abc", b"de")
    answer = client.post("/quick", data=b"".join(map(bytes, sent.pieces)), content_type=sent.content_type)
    assert f"{stored.result.input_digest}:{stored.output_digest}".encode() in answer.data


def test_the_same_id_and_body_are_one_run(bench: Bench) -> None:
    first = bench.submit("told", body({"name": "one"}, b"abc"), "one")
    again, new = bench.submitted("told", body({"name": "one"}, b"abc", boundary="another"), "one")
    assert (again.key, new) == (first.key, False)
    bench.go("one")
    bench.ended(first)
    later, new = bench.submitted("told", body({"name": "one"}, b"abc"), "one")
    assert (later.state, new) == (RunState.FINISHED, False)
    assert len(bench.noted("begin one")) == 1


def test_many_submissions_of_one_run_at_once_execute_it_once(bench: Bench) -> None:
    bench.go("one")
    news = []
    threads = [
        threading.Thread(target=lambda: news.append(bench.submitted("told", body({"name": "one"}), "one")[1]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bench.ended(bench.runs.get(CALLER, "one"))
    assert sorted(news) == [False] * 7 + [True]
    assert len(bench.noted("end one")) == 1


@pytest.mark.parametrize(("route", "data"), [("quick", b"abd"), ("counted", b"abc")])
def test_the_same_id_with_another_route_or_body_conflicts(bench: Bench, route: str, data: bytes) -> None:
    bench.submit("quick", body({}, b"abc"), "one")
    with pytest.raises(RunConflict):
        bench.submit(route, body({}, data), "one")


def test_a_caller_sees_its_own_runs_alone(bench: Bench) -> None:
    bench.ended(bench.submit("quick", id="one"))
    with pytest.raises(RunNotFound):
        bench.runs.get("bob", "one")
    other, new = bench.submitted("quick", body({"b": 1}), "one", caller="bob")
    assert new
    assert [run.caller for run in bench.runs.page("bob")] == ["bob"]
    bench.ended(other)


RELATED = "multipart/related; boundary=b"


def parts(*bodies: bytes) -> Body:
    data = b"".join(encode("b", [OutgoingPart((), len(each), [each]) for each in bodies]))
    return Body(RELATED, "", len(data), iter([data]))


REFUSED: dict[str, tuple[type[GatewayError], Callable[[Bench], object]]] = {
    "another character in the id": (RunIdRefused, lambda bench: bench.submit("quick", id="a/b")),
    "too long an id": (RunIdRefused, lambda bench: bench.submit("quick", id="a" * 65)),
    "a segment that clients remove": (RunIdRefused, lambda bench: bench.submit("quick", id="..")),
    "no model": (ParameterRefused, lambda bench: bench.submit("nowhere")),
    "no study": (UnsupportedMedia, lambda bench: bench.submit("quick", Body("text/plain", "", 1, iter([b"a"])))),
    "half a JSON": (BrokenJSON, lambda bench: bench.submit("quick", Body("application/json", "", 1, iter([b"{"])))),
    "JSON of no study": (UnsupportedMedia, lambda bench: bench.submit("quick", words({"a": 1}))),
    "no path": (BrokenJSON, lambda bench: bench.submit("quick", words({"studyPath": 1}))),
    "half a JSON in parts": (BrokenJSON, lambda bench: bench.submit("quick", parts(b"{", b"abc"))),
    "DICOM first": (BrokenJSON, lambda bench: bench.submit("quick", parts(files(1)[0].data, b"{}"))),
    "a list in parts": (BrokenJSON, lambda bench: bench.submit("quick", parts(b"[]"))),
    "no part": (BrokenBody, lambda bench: bench.submit("quick", Body(RELATED, "", 7, iter([b"--b--\r\n"])))),
    "a study that is not held": (StudyNotFound, lambda bench: bench.submit("quick", words({"study": "1.2.3"}))),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_run_is_refused_and_leaves_nothing(bench: Bench, case: str) -> None:
    error, submit = REFUSED[case]
    with pytest.raises(error):
        submit(bench)
    assert bench.runs.page(CALLER) == bench.payloads() == []


@pytest.mark.parametrize(
    ("route", "state", "error", "status"),
    [
        ("refuses", RunState.REFUSED, StudyRefused, 422),
        ("fails", RunState.FAILED, ModelFailed, 500),
    ],
)
def test_a_run_without_an_answer_has_the_problem_of_its_request(
    bench: Bench, route: str, state: RunState, error: type[GatewayError], status: int
) -> None:
    run = bench.ended(bench.submit(route, body({"name": "secret"})))
    assert (run.state, run.status, run.reason) == (state, status, error.code)
    problem = bench.runs.problem(run)
    assert (problem["status"], problem["type"]) == (status, f"urn:gateway:problem:{error.code}")
    assert len(problem["request_id"]) == 32
    with pytest.raises(error) as raised:
        bench.runs.result(CALLER, run.id)
    assert raised.value.detail == problem["detail"]
    assert len(bench.noted(f"begin {route}")) == 1


def test_what_a_model_tells_reaches_the_caller_in_order(bench: Bench) -> None:
    run = bench.submit("told", body({"name": "one"}), "one")
    eventually(lambda: {"log", "progress"} <= set(bench.kinds(run)))
    progress = bench.runs.progress(run)
    assert progress == {"done": 1.0, "total": 3.0, "text": "one third of one"}
    bench.go("one")
    bench.ended(run)
    events = bench.runs.events(run)
    assert [event.data["text"] for event in events if event.kind == "log"] == ["a line of one"]
    assert bench.kinds(run)[:2] == ["queued", "running"]
    assert bench.kinds(run)[-1] == "finished"
    assert bench.runs.events(run, after=events[1].sequence) == events[2:]


def test_the_result_of_a_live_run_is_not_ready(bench: Bench) -> None:
    run = bench.submit("told", id="one")
    with pytest.raises(RunNotReady) as raised:
        bench.runs.result(CALLER, "one")
    assert int(raised.value.headers()["Retry-After"]) > 0
    bench.go("one")
    bench.ended(run)


def test_a_queued_run_is_cancelled_at_once(open_bench: Any) -> None:
    bench: Bench = open_bench(run_concurrency=0)
    run = bench.runs.delete(CALLER, bench.submit("told", id="one").id)
    assert run is not None
    assert run.state is RunState.CANCELLED
    with pytest.raises(RunCancelled):
        bench.runs.result(CALLER, "one")


def test_the_model_of_a_cancelled_run_stops(bench: Bench) -> None:
    run = bench.submit("told", id="one")
    eventually(lambda: bench.noted("begin one"))
    assert bench.runs.delete(CALLER, "one") is not None
    assert bench.ended(run).state is RunState.CANCELLED
    eventually(lambda: bench.noted("cancelled one"))
    assert bench.noted("end one") == []


def test_an_ended_run_is_forgotten_with_its_payloads(bench: Bench) -> None:
    bench.ended(bench.submit("quick", body({}, b"abc"), "one"))
    assert bench.runs.delete(CALLER, "one") is None
    assert bench.payloads() == []
    with pytest.raises(RunNotFound):
        bench.runs.get(CALLER, "one")


def test_a_run_that_another_process_executes_is_seen_here(open_bench: Any) -> None:
    here, there = open_bench(run_concurrency=0), open_bench()
    there.runs.open()
    woken = threading.Event()
    run = here.submit("told", body({"name": "one"}), "one")
    watch = here.runs.watch(run, woken.set)
    assert woken.wait(PATIENCE)
    eventually(lambda: "log" in here.kinds(run))
    here.go("one")
    assert here.ended(run).state is RunState.FINISHED
    assert b"one" in bytes(here.runs.result(CALLER, "one").result.json_bytes)
    watch.close()


def test_a_run_in_another_process_is_cancelled_from_here(open_bench: Any) -> None:
    here, there = open_bench(run_concurrency=0), open_bench()
    there.runs.open()
    run = here.submit("told", id="one")
    here.becomes(run, RunState.RUNNING)
    here.runs.delete(CALLER, "one")
    assert here.ended(run).state is RunState.CANCELLED


def test_each_of_two_processes_executes_a_run_alone(open_bench: Any) -> None:
    one, other = open_bench(), open_bench()
    other.runs.open()
    submitted = [one.submit("counted", body({"name": f"run {number}"})) for number in range(30)]
    assert {one.ended(run).state for run in submitted} == {RunState.FINISHED}
    assert [len(one.noted(f"end run {number}")) for number in range(30)] == [1] * 30


def test_a_process_that_stops_gives_its_runs_back(open_bench: Any) -> None:
    one, other = open_bench(), open_bench()
    run = one.submit("told", id="one")
    eventually(lambda: one.noted("begin one"))
    one.close()
    back = other.runs.get(CALLER, "one")
    assert (back.state, back.attempts) == (RunState.QUEUED, 0)
    other.go("one")
    other.runs.open()
    assert other.ended(run).state is RunState.FINISHED


def test_time_in_the_queue_does_not_count_to_the_deadline(bench: Bench) -> None:
    """The model has one place: the second run is claimed once the first has ended."""
    first = bench.submit("single", body({"name": "one"}), "one")
    eventually(lambda: bench.noted("begin one"))
    second = bench.submit("single", body({"name": "two"}), "two", timeout=600.0)
    assert bench.runs.ahead(second) == 0
    bench.go("two")
    assert bench.runs.get(CALLER, "two").state is RunState.QUEUED
    bench.go("one")
    assert bench.ended(first).state is bench.ended(second).state is RunState.FINISHED


def test_a_model_asks_its_caller(bench: Bench) -> None:
    run = bench.submit("asks", body({}))
    with pytest.raises(RunNotWaiting):
        bench.runs.answer(CALLER, run.id, {})
    before = 0
    for number in (1, 2):
        question = eventually(lambda: bench.runs.question(bench.runs.get(CALLER, run.id)))
        assert question.data == {"number": number}
        with pytest.raises(RunNotWaiting):
            bench.runs.answer(CALLER, run.id, {"answer": "late"}, before)
        before = question.sequence
        assert bench.runs.answer(CALLER, run.id, {"answer": number}).state is RunState.RUNNING
        eventually(lambda: bench.runs.get(CALLER, run.id).state is not RunState.RUNNING)
    assert bench.ended(run).state is RunState.FINISHED
    assert b'[{"answer": 1}, {"answer": 2}]' in bytes(bench.runs.result(CALLER, run.id).result.json_bytes)
    states = ["queued", *["running", "waiting-input", "question"] * 2, "running", "finished"]
    assert bench.kinds(run) == states


def test_a_run_that_waits_for_input_is_cancelled(bench: Bench) -> None:
    run = bench.submit("asks", body({}))
    bench.becomes(run, RunState.WAITING)
    bench.runs.cancel(CALLER, run.id)
    assert bench.ended(run).state is RunState.CANCELLED


def test_a_model_that_asks_needs_a_run(bench: Bench) -> None:
    sent = body({})
    answer = bench.app.test_client().post(
        "/asks", data=b"".join(map(bytes, sent.pieces)), content_type=sent.content_type
    )
    assert (answer.status_code, answer.get_json()["type"]) == (422, "urn:gateway:problem:run-required")


def test_a_run_is_found_by_state_route_and_page(bench: Bench) -> None:
    ids = [bench.ended(bench.submit("quick", body({"n": number}), f"q{number}")).id for number in range(3)]
    bench.ended(bench.submit("refuses", body({}), "r"))
    assert [run.id for run in bench.runs.page(CALLER)] == ["r", *reversed(ids)]
    assert [run.id for run in bench.runs.page(CALLER, state="refused")] == ["r"]
    assert [run.id for run in bench.runs.page(CALLER, route="/quick", limit=2)] == ["q2", "q1"]
    assert [run.id for run in bench.runs.page(CALLER, route="/quick", after="q1")] == ["q0"]
    assert bench.runs.page(CALLER, since=2e9) == []
    assert bench.runs.counts()[0]["finished"] == 3
    bench.runs.forget(CALLER, "q1")
    with pytest.raises(ParameterRefused) as raised:  # the first page again would show the same runs twice
        bench.runs.page(CALLER, after="q1")
    assert raised.value.pointer == "/after"


def test_a_problem_whose_file_has_changed_is_said_to_be_lost(bench: Bench) -> None:
    run = bench.ended(bench.submit("refuses", body({})))
    for path in bench.payloads():
        path.chmod(0o600)
        path.write_bytes(b"{}")
    assert bench.runs.problem(run)["status"] == 500
    with pytest.raises(GatewayError) as raised:
        bench.runs.result(CALLER, run.id)
    assert raised.value.problem()["detail"] == bench.runs.problem(run)["detail"]


def test_a_caller_has_so_many_runs(open_bench: Any) -> None:
    bench: Bench = open_bench(run_caller_max=2)
    oldest = bench.ended(bench.submit("quick", body({"n": 0})))
    for number in (1, 2):
        bench.ended(bench.submit("quick", body({"n": number})))
    with pytest.raises(RunNotFound):
        bench.runs.get(CALLER, oldest.id)
    live = [bench.submit("told", body({"name": f"live {number}"})) for number in range(2)]
    with pytest.raises(TooManyRequests):
        bench.submit("quick", body({"n": 3}))
    for number, run in enumerate(live):
        bench.go(f"live {number}")
        bench.ended(run)


def test_an_old_run_expires_and_its_id_is_not_used_again(open_bench: Any) -> None:
    bench: Bench = open_bench(run_ttl=0.05)
    run = bench.submit("quick", body({}, b"abc"), "one")
    eventually(lambda: is_gone(bench, run.id))
    assert bench.payloads() == []
    with pytest.raises(RunGone):
        bench.submit("quick", body({}, b"abc"), "one")


def is_gone(bench: Bench, id: str) -> bool:
    bench.runs._upkeep_at = 0.0  # the next look
    try:
        bench.runs.get(CALLER, id)
    except RunGone:
        return True
    return False


def test_a_forgotten_study_takes_its_runs_with_it(bench: Bench) -> None:
    store = bench.app.service.store
    assert store is not None
    sent = files(2)
    upload(store.store, CALLER, sent)
    study = sent[0].entry.study_instance_uid
    by_reference = bench.submit("quick", words({"study": study}))
    by_body = bench.submit("quick", body({}, files(1)[0].data))
    others = bench.submit("quick", body({}, files(1, study="another")[0].data))
    for run in (by_reference, by_body, others):
        assert bench.ended(run).state is RunState.FINISHED, bench.runs.problem(run)
    assert forget(store.store, study, CALLER).runs == 2
    assert [run.id for run in bench.runs.page(CALLER)] == [others.id]
    assert len(bench.payloads()) == 2


def test_a_live_run_is_forgotten_with_its_study(bench: Bench) -> None:
    store = bench.app.service.store
    assert store is not None
    sent = files(1)[0]
    run = bench.submit("told", body({"name": "one"}, sent.data), "one")
    eventually(lambda: bench.noted("begin one"))
    assert forget(store.store, sent.entry.study_instance_uid, CALLER).runs == 1
    bench.go("one")
    eventually(lambda: bench.noted("end one"))
    eventually(lambda: not bench.runs.busy)
    with pytest.raises(RunNotFound):
        bench.runs.get(CALLER, run.id)
    assert bench.payloads() == []


def test_runs_make_room_for_each_other_and_count_to_the_quota(open_bench: Any) -> None:
    bench: Bench = open_bench(store_max_bytes=10_000, store_caller_bytes=10_000)
    first = bench.ended(bench.submit("quick", body({}, b"a" * 6_000), "one"))
    second = bench.ended(bench.submit("quick", body({}, b"b" * 6_000), "two"))
    assert (first.state, second.state) == (RunState.FINISHED, RunState.FINISHED)
    with pytest.raises(RunGone):
        bench.runs.get(CALLER, "one")
    assert sum(path.stat().st_size for path in bench.payloads()) <= 10_000


def test_a_run_is_executed_once_although_its_process_seems_late(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a machine was suspended, or its clock was set, or the database was away for longer than a lease."""
    run = bench.submit("told", id="one")
    eventually(lambda: bench.noted("begin one"))
    dispatcher, looks = bench.runs._dispatcher, list[None]()
    take_over = dispatcher._take_over
    eventually(lambda: dispatcher._renew_at > 0)
    monkeypatch.setattr(dispatcher, "_take_over", lambda: looks.append(take_over()))
    monkeypatch.setattr(bench.runs._ledger, "_clock", lambda: time.time() + 3600)
    eventually(lambda: len(looks) > 1)
    bench.go("one")
    assert (bench.ended(run).attempts, len(bench.noted("begin one"))) == (1, 1)


def test_a_run_whose_end_was_not_recorded_is_executed_again_beside_another(
    open_bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench: Bench = open_bench(run_lease=2.0)
    other = bench.submit("told", id="other")
    eventually(lambda: bench.noted("begin other"))
    execute, dispatcher = Attempt.execute, bench.runs._dispatcher

    def once_on_a_full_disk(attempt: Attempt) -> None:
        if attempt.run.id == "one" and attempt.run.attempts == 1:
            raise StorageFull("No room.")
        execute(attempt)

    monkeypatch.setattr(Attempt, "execute", once_on_a_full_disk)
    run = bench.becomes(bench.submit("quick", id="one"), RunState.RUNNING)
    eventually(lambda: list(dispatcher._attempts) == [other.key])
    again = bench.ended(run)
    assert (again.state, again.attempts) == (RunState.FINISHED, 2)
    bench.go("other")
    assert bench.ended(other).attempts == 1
