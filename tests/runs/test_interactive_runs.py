"""Runs of interactive models: asked, answered, parked, and executed again with the stored answers."""

import logging
from typing import Any

import pytest

from gateway import Point
from gateway.errors import ParameterRefused, RunNotWaiting
from gateway.protocol.questions import reply_words
from gateway.runs.lifecycle import RunState
from gateway.runs.rows import Run
from gateway.runs.upkeep import expire
from tests.apps.durable import SECRET
from tests.runs.conftest import ANSWERS, CALLER, FOUND, Bench, asked, body, converse, events, found, reply
from tests.waiting import eventually


def start(bench: Bench, route: str = "guided", **words: Any) -> Run:
    return bench.submit(route, body({"name": "one"} | words), "one")


def parked(bench: Bench, run: Run) -> bool:
    """Whether nothing executes a run that waits."""
    return not bench.runs.busy and bench.runs.get(run.caller, run.id).state is RunState.WAITING


def test_a_run_asks_shows_and_ends_with_the_answers(bench: Bench) -> None:
    run = start(bench)
    converse(bench, run, ANSWERS)
    assert found(bench, run) == FOUND
    questions = [event.data["question"] for event in events(bench, run, "question")]
    assert questions == ["Where?", "Which?", "How many?"]
    first, second = events(bench, run, "preview")
    assert (first.data["text"], second.data["text"]) == ("the first picture", "the second picture")
    media_type, picture = bench.runs.payload(run, first.sequence)
    assert (media_type, bytes(picture[:4])) == ("image/png", b"\x89PNG")
    (partial,) = events(bench, run, "partial")
    media_type, data = bench.runs.payload(run, partial.sequence)
    assert media_type.startswith("multipart/related")
    assert b'"so far": [1.0, 2.0, 3.0]' in bytes(data)
    assert events(bench, run, "log")[0].data == {"text": "it begins"}


@pytest.mark.parametrize("wrong", [{}, {"answer": [0, 0]}, {"answer": "here"}, {"point": [0, 0, 0]}])
def test_a_wrong_answer_is_refused_and_the_run_goes_on_waiting(bench: Bench, wrong: dict[str, Any]) -> None:
    run = start(bench)
    question = asked(bench, run)
    with pytest.raises(ParameterRefused):
        bench.runs.answer(CALLER, run.id, wrong)
    assert asked(bench, run) == question
    converse(bench, run, ANSWERS)
    assert found(bench, run) == FOUND


def test_one_of_two_answers_to_a_question_counts(bench: Bench) -> None:
    run = start(bench)
    number = reply(bench, run, ANSWERS[0])
    with pytest.raises(RunNotWaiting):
        bench.runs.answer(CALLER, run.id, reply_words(Point(0, 0, 0)), number)
    converse(bench, run, ANSWERS[1:], number)
    assert found(bench, run) == FOUND


def test_a_run_that_waits_too_long_is_parked_and_goes_on_with_its_answer(open_bench: Any) -> None:
    bench: Bench = open_bench(max_waiting_runs=0)
    run, last = start(bench), 0
    for number, value in enumerate(ANSWERS, start=1):
        question = asked(bench, run, last)
        eventually(lambda: parked(bench, run))
        assert len(bench.noted("finally one")) == number
        assert bench.runs.get(CALLER, "one").attempts == 0
        assert bench.runs.answer(CALLER, "one", reply_words(value), question.sequence).state is RunState.QUEUED
        last = question.sequence
    assert found(bench, run) == FOUND
    assert len(bench.noted("begin one")) == len(ANSWERS) + 1
    for kind, count in (("question", 3), ("preview", 2), ("log", 1), ("partial", 1)):
        assert len(events(bench, run, kind)) == count, kind


def test_no_more_runs_wait_in_place_than_may(open_bench: Any) -> None:
    bench: Bench = open_bench(max_waiting_runs=1)
    runs = [bench.submit("guided", body({"name": name}), name) for name in ("one", "two", "three")]
    for run in runs:
        asked(bench, run)
    eventually(lambda: sum(len(bench.noted(f"finally {run.id}")) for run in runs) == 2)
    for run in runs:
        converse(bench, run, ANSWERS)
    assert [found(bench, run) for run in runs] == [FOUND] * 3


def test_a_parked_run_is_cancelled_at_once(open_bench: Any) -> None:
    bench: Bench = open_bench(max_waiting_runs=0)
    run = start(bench)
    asked(bench, run)
    eventually(lambda: parked(bench, run))
    assert bench.runs.cancel(CALLER, "one").state is RunState.CANCELLED


def test_a_parked_run_outlives_its_process(open_bench: Any) -> None:
    first: Bench = open_bench()
    run = start(first)
    last = reply(first, run, ANSWERS[0])
    asked(first, run, last)
    first.close()
    other: Bench = open_bench()
    assert parked(other, run)
    converse(other, run, ANSWERS[1:], last)
    assert found(other, run) == FOUND
    assert len(events(other, run, "question")) == 3


def test_a_question_of_another_process_is_answered_from_here(open_bench: Any) -> None:
    other: Bench = open_bench()
    here: Bench = open_bench(run_concurrency=0)
    run = start(other)
    converse(here, run, ANSWERS)
    assert found(here, run) == FOUND


def test_a_replay_that_asks_something_else_fails(open_bench: Any) -> None:
    bench: Bench = open_bench(max_waiting_runs=0)
    changed = bench.notes / "changed"
    run = start(bench, path=str(changed))
    last = converse(bench, run, ANSWERS[:2])
    asked(bench, run, last)
    eventually(lambda: parked(bench, run))
    changed.touch()
    reply(bench, run, ANSWERS[2], last)
    ended = bench.ended(run)
    assert (ended.state, ended.reason, ended.status) == (RunState.FAILED, "replay-diverged", 500)


def test_time_spent_waiting_does_not_count_to_the_deadline(bench: Bench) -> None:
    run = bench.submit("guided", body({"name": "one"}), "one", timeout=1.5)
    question = asked(bench, run)
    seen: list[float] = []
    eventually(lambda: seen.append(0) or len(seen) > 25)  # two seconds by its pauses
    bench.runs.answer(CALLER, "one", reply_words(ANSWERS[0]), question.sequence)
    converse(bench, run, ANSWERS[1:], question.sequence)
    assert found(bench, run) == FOUND


def test_a_model_that_asks_without_end_fails(open_bench: Any) -> None:
    bench: Bench = open_bench(run_questions=3)
    run = start(bench, "endless")
    converse(bench, run, ["because"] * 3)
    ended = bench.ended(run)
    assert (ended.state, ended.reason) == (RunState.FAILED, "model-failed")


def everywhere(bench: Bench) -> bytes:
    """All bytes that the store and its database have."""
    folder = bench.settings.store_folder
    assert folder is not None
    files = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return files + bench.rows().encode()


@pytest.mark.parametrize("concurrency", [4, 0])
def test_a_password_reaches_its_model_and_no_place_else(
    open_bench: Any, concurrency: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The process that receives it may be another one than that which executes the run."""
    caplog.set_level(logging.DEBUG)
    other: Bench = open_bench()
    here: Bench = open_bench(run_concurrency=concurrency)
    run = start(other, "secretive")
    last = converse(here, run, ["Ada", SECRET])
    eventually(lambda: here.noted("opened one"))
    assert SECRET.encode() not in everywhere(here)
    assert asked(here, run, last).data["question"] == "How many?"
    reply(here, run, 3, last)
    assert found(here, run) == {"who": "Ada", "right": True, "number": 3.0}
    assert SECRET.encode() not in everywhere(here)
    assert SECRET not in caplog.text


def test_a_password_is_asked_again_and_the_other_answers_are_not(open_bench: Any) -> None:
    first: Bench = open_bench()
    run = start(first, "secretive")
    last = asked(first, run, converse(first, run, ["Ada", SECRET])).sequence
    first.close()
    other: Bench = open_bench()
    other.runs.answer(CALLER, "one", reply_words(3))
    question = asked(other, run, last)
    assert (question.data["kind"], question.data["again"]) == ("password", True)
    reply(other, run, SECRET)
    assert found(other, run) == {"who": "Ada", "right": True, "number": 3.0}
    kinds = [event.data["kind"] for event in events(other, run, "question")]
    assert kinds == ["text", "password", "number", "password"]


def test_a_password_for_a_parked_run_only_wakes_it(open_bench: Any) -> None:
    """The key of its question ended with its attempt."""
    first: Bench = open_bench()
    run = start(first, "secretive")
    last = asked(first, run, reply(first, run, "Ada")).sequence
    first.close()
    other: Bench = open_bench()
    assert other.runs.answer(CALLER, "one", reply_words(SECRET), last).state is RunState.QUEUED
    converse(other, run, [SECRET, 3], last)
    assert found(other, run) == {"who": "Ada", "right": True, "number": 3.0}
    assert SECRET.encode() not in everywhere(other)


def test_a_question_that_nobody_answers_expires(open_bench: Any) -> None:
    bench: Bench = open_bench(max_waiting_runs=0)
    run = start(bench)
    asked(bench, run)
    eventually(lambda: parked(bench, run))
    ledger = bench.runs._ledger
    expire(ledger, 3_600.0)
    assert bench.runs.get(CALLER, "one").state is RunState.WAITING
    expire(ledger, -1.0)
    assert bench.runs.get(CALLER, "one").state is RunState.CANCELLED
