"""Runs on a real server, one of whose workers is killed in the middle of one."""

from typing import Any

import pytest

from gateway.runs.lifecycle import RunState
from tests.runs.conftest import CALLER, Bench, body
from tests.runs.serving import Start, kill, start_server
from tests.waiting import eventually

__all__ = ["start_server"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_run_outlives_the_worker_that_executes_it(start_server: Start, open_bench: Any) -> None:
    here: Bench = open_bench(run_concurrency=0)
    start_server(here)
    before = here.ended(here.submit("quick", body({}, b"abc"), "before"))
    assert before.state is RunState.FINISHED
    run = here.submit("told", body({"name": "one"}), "one")
    (first,) = eventually(lambda: here.noted("begin one"))
    kill(first)
    second = eventually(lambda: here.noted("begin one")[1:])
    here.go("one")
    ended = here.ended(run)
    assert (ended.state, ended.attempts, here.noted("end one")) == (RunState.FINISHED, 2, second)
    assert b'"sizes": [3]' in bytes(here.runs.result(CALLER, "before").result.json_bytes)
