"""Processes that are killed by signal 9, at each stage of a run, in both forms of running models, on each database."""

import itertools
import signal
from typing import Any

import pytest

from gateway.runs.lifecycle import RunState
from tests.apps.durable import QUESTIONS, STAGES
from tests.runs.conftest import ANSWERS, CALLER, FOUND, Bench, asked, body, converse, events, found, reply
from tests.runs.serving import Start, kill, kill_all, killed_again_and_again, start_server
from tests.waiting import eventually

__all__ = ["start_server"]

pytestmark = pytest.mark.slow

FORMS = ("0", "1")
"""The number of model processes."""
RUNS, SERVERS, KILL_SECONDS = 200, 2, 5.0


@pytest.mark.parametrize("processes", FORMS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_ends_wherever_its_worker_dies(start_server: Start, open_bench: Any, stage: str, processes: str) -> None:
    here: Bench = open_bench(run_concurrency=0)
    start_server(here, TEST_STAGE=stage, GATEWAY_MODEL_PROCESSES=processes)
    here.ended(here.submit("quick", body({}), "warm"))
    (here.notes / "armed").touch()
    run = here.submit("counted", body({"name": "one"}), "one")
    ended = here.ended(run)
    assert (here.notes / "died").exists()
    assert ended.state is RunState.FINISHED, here.runs.problem(ended)
    assert here.kinds(ended).count("finished") == 1
    assert b'"one"' in bytes(here.runs.result(CALLER, "one").result.json_bytes)
    assert len(here.payloads()) == 4  # input and result of two runs


@pytest.mark.parametrize("processes", FORMS)
def test_a_run_that_kills_its_process_fails_after_so_many_attempts(
    start_server: Start, open_bench: Any, processes: str
) -> None:
    here: Bench = open_bench(run_concurrency=0)
    start_server(here, GATEWAY_MODEL_PROCESSES=processes, GATEWAY_BREAKER_COOLDOWN="0.1")
    ended = here.ended(here.submit("dies", body({})))
    reason = "model-died" if processes == "1" else "run-abandoned"
    assert (ended.state, ended.reason, ended.status) == (RunState.FAILED, reason, 502)
    assert len(here.noted("begin dies")) == ended.attempts == 3


@pytest.mark.parametrize("processes", FORMS)
def test_a_run_outlives_the_whole_server(start_server: Start, open_bench: Any, processes: str) -> None:
    here: Bench = open_bench(run_concurrency=0)
    server = start_server(here, GATEWAY_MODEL_PROCESSES=processes)
    finished = here.ended(here.submit("counted", body({"name": "done"}), "done"))
    running = here.submit("told", body({"name": "one"}), "one")
    queued = here.submit("single", body({"name": "two"}), "two")
    eventually(lambda: here.noted("begin one") and here.noted("begin two"))
    more = [here.submit("single", body({"name": f"more {number}"})) for number in range(3)]
    kill_all(server)
    here.go("one"), here.go("two")
    for number in range(3):
        here.go(f"more {number}")
    start_server(here, GATEWAY_MODEL_PROCESSES=processes)
    assert {here.ended(run).state for run in (running, queued, *more)} == {RunState.FINISHED}
    assert here.runs.get(CALLER, "done") == finished
    assert len(here.noted("end done")) == 1


def test_a_server_that_stops_ends_its_runs_and_leaves_the_queued_ones(start_server: Start, open_bench: Any) -> None:
    here: Bench = open_bench(run_concurrency=0)
    server = start_server(here)
    run = here.submit("told", body({"name": "two"}), "two")
    eventually(lambda: here.noted("begin two"))
    server.process.send_signal(signal.SIGTERM)
    here.go("two")
    assert here.ended(run).attempts == 1
    server.process.wait()
    queued = here.submit("quick", body({}), "three")
    assert here.runs.get(CALLER, "three").state is RunState.QUEUED
    start_server(here, "--workers", "1")
    assert here.ended(queued).state is RunState.FINISHED


def test_a_model_process_that_dies_costs_an_attempt(start_server: Start, open_bench: Any) -> None:
    here: Bench = open_bench(run_concurrency=0)
    start_server(here, GATEWAY_MODEL_PROCESSES="1")
    run = here.submit("told", body({"name": "one"}), "one")
    (model,) = eventually(lambda: here.noted("begin one"))
    kill(model)
    eventually(lambda: len(here.noted("begin one")) == 2)
    here.go("one")
    assert (here.ended(run).state, here.ended(run).attempts) == (RunState.FINISHED, 2)


def test_a_model_in_a_process_of_its_own_asks_its_caller(start_server: Start, open_bench: Any) -> None:
    here: Bench = open_bench(run_concurrency=0)
    start_server(here, GATEWAY_MODEL_PROCESSES="1")
    run = here.submit("asks", body({}))
    for number in (1, 2):
        here.becomes(run, RunState.WAITING)
        here.runs.answer(CALLER, run.id, {"answer": number})
        eventually(lambda: here.runs.get(CALLER, run.id).state is not RunState.RUNNING)
    assert here.ended(run).state is RunState.FINISHED
    assert b'[{"answer": 1}, {"answer": 2}]' in bytes(here.runs.result(CALLER, run.id).result.json_bytes)


@pytest.mark.parametrize("processes", FORMS)
@pytest.mark.parametrize("stage", QUESTIONS)
def test_a_caller_is_asked_once_wherever_the_worker_dies(
    start_server: Start, open_bench: Any, stage: str, processes: str
) -> None:
    here: Bench = open_bench(run_concurrency=0)
    start_server(here, TEST_STAGE=stage, GATEWAY_MODEL_PROCESSES=processes)
    here.ended(here.submit("quick", body({}), "warm"))
    (here.notes / "armed").touch()
    run = here.submit("guided", body({"name": "one"}), "one")
    converse(here, run, ANSWERS)
    assert found(here, run) == FOUND
    assert (here.notes / "died").exists()
    assert [len(events(here, run, kind)) for kind in ("question", "preview")] == [3, 2]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_caller_is_asked_once_although_the_model_process_dies(start_server: Start, open_bench: Any) -> None:
    here: Bench = open_bench(run_concurrency=0)
    start_server(here, GATEWAY_MODEL_PROCESSES="1")
    run = here.submit("guided", body({"name": "one"}), "one")
    last = reply(here, run, ANSWERS[0])
    asked(here, run, last)
    kill(here.noted("point one")[0])
    converse(here, run, ANSWERS[1:], last)
    assert found(here, run) == FOUND
    assert len(here.noted("begin one")) == 2
    assert [len(events(here, run, kind)) for kind in ("question", "preview", "partial")] == [3, 2, 1]
    (partial,) = events(here, run, "partial")
    assert b'"so far": [1.0, 2.0, 3.0]' in bytes(here.runs.payload(run, partial.sequence)[1])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_servers_that_are_killed_again_and_again_end_all_runs(start_server: Start, open_bench: Any) -> None:
    """No run is lost, and none is executed again after it has finished."""
    here: Bench = open_bench(run_concurrency=0)
    numbers = itertools.count()

    def start() -> Any:
        return start_server(here, "--workers", "1", TEST_SERVER=str(next(numbers)), GATEWAY_RUN_ATTEMPTS="20")

    start_server(here, "--workers", "1", GATEWAY_RUN_ATTEMPTS="20")
    with killed_again_and_again(start, KILL_SECONDS) as servers:
        submitted = [
            here.submit("counted", body({"name": f"run {number}", "seconds": 0.3}), f"run-{number}")
            for number in range(RUNS)
        ]
        ended = [here.ended(run) for run in submitted]
    assert {run.state for run in ended} == {RunState.FINISHED}
    assert len(servers) > SERVERS
    assert [run.id for run in ended if not here.runs.result(CALLER, run.id).result.json_bytes] == []
    executed = [len(here.noted(f"end run {number}")) for number in range(RUNS)]
    assert min(executed) == 1
    tried = [here.runs.get(CALLER, f"run-{number}").attempts for number in range(RUNS)]
    assert all(count <= attempts for count, attempts in zip(executed, tried, strict=True))
