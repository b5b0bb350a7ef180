"""Ends of runs whose store is away or full just then: the model has answered once, and does not answer again."""

import resource
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import RunAbandoned, StorageFull
from gateway.runs.attempts import Attempt
from gateway.runs.endings import PAUSE_SECONDS, problem_payload
from gateway.runs.lifecycle import RunState
from gateway.runs.rows import Run
from tests.require import require
from tests.runs.conftest import CALLER, Bench, body
from tests.studies import databases
from tests.waiting import PATIENCE, eventually

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@contextmanager
def index_away(bench: Bench) -> Iterator[None]:
    """The index is moved away, as by a volume that is not mounted for a while."""
    folder = Path(str(bench.settings.store_folder))
    names = [path.name for path in folder.glob("index.sqlite*")]
    for name in names:
        (folder / name).rename(folder / f"away {name}")
    try:
        yield
    finally:
        for name in names:
            (folder / f"away {name}").rename(folder / name)


def attempt_at(bench: Bench, run: Run) -> Attempt:
    return bench.runs._dispatcher._attempts[run.key]


@SQLITE
def test_an_answer_is_stored_once_the_index_is_back(open_bench: Any) -> None:
    bench: Bench = open_bench(run_lease=2.0)
    run = bench.submit("told", id="one")
    eventually(lambda: bench.noted("begin one"))
    attempt = attempt_at(bench, run)
    with index_away(bench):
        bench.go("one")
        eventually(lambda: bench.noted("end one"))
        eventually(lambda: time.monotonic() > attempt.lease_until)
    ended = bench.ended(run)
    assert (ended.state, ended.attempts, len(bench.noted("begin one"))) == (RunState.FINISHED, 1, 1)
    assert bench.kinds(run)[-3:] == ["log", "progress", "finished"]


@pytest.mark.slow
def test_an_answer_is_stored_once_postgresql_is_back(tmp_path: Path, notes: Path) -> None:
    require(databases.program("initdb"), databases.MISSING)
    with databases.cluster() as own, closing(Bench(tmp_path / "store", own.database(), notes)) as bench:
        run = bench.submit("told", id="one")
        eventually(lambda: bench.noted("begin one"))
        own.halt()
        bench.go("one")
        eventually(lambda: bench.noted("end one"))
        time.sleep(3 * PAUSE_SECONDS[1])  # several tries
        own.start()
        ended = bench.ended(run)
        assert (ended.state, ended.attempts, len(bench.noted("begin one"))) == (RunState.FINISHED, 1, 1)


@SQLITE
def test_a_cancellation_is_stored_once_the_index_is_back(open_bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    bench: Bench = open_bench()
    run = bench.submit("told", id="one")
    eventually(lambda: bench.noted("begin one"))
    attempt = attempt_at(bench, run)
    bench.runs.cancel(CALLER, "one")
    with index_away(bench):
        eventually(lambda: attempt.ending.stopped is not None)
        bench.go("one")
        eventually(lambda: bench.noted("end one"))
        eventually(lambda: "waits for the store" in caplog.text)  # the index comes back after the first try
    assert bench.ended(run).state is RunState.CANCELLED


def answered_without_room(bench: Bench) -> Run:
    """A run whose answer does not fit beside the input of one that lives; the model has ended."""
    bench.submit("told", body({"name": "large"}, b"a" * 12_000), "large")
    eventually(lambda: bench.noted("begin large"))
    run = bench.submit("counted", body({"name": "one", "size": 10_000}), "one")
    eventually(lambda: bench.noted("end one"))
    return run


ROOM = {"store_max_bytes": 20_000, "store_caller_bytes": 20_000}


@SQLITE
def test_an_answer_waits_for_room_without_a_second_execution(open_bench: Any) -> None:
    bench: Bench = open_bench(**ROOM)
    run = answered_without_room(bench)
    assert not bench.runs.wait(CALLER, run.id, 0.3).state.ended
    bench.go("large")
    ended = bench.ended(run)
    assert (ended.state, ended.attempts, len(bench.noted("begin one"))) == (RunState.FINISHED, 1, 1)


@SQLITE
def test_a_run_whose_answer_finds_no_room_fails_and_is_not_executed_again(open_bench: Any) -> None:
    bench: Bench = open_bench(**ROOM, run_lease=2.0)
    run = bench.ended(answered_without_room(bench))
    assert (run.state, run.status, run.reason) == (RunState.FAILED, 507, "storage-full")
    assert len(bench.noted("begin one")) == 1
    with pytest.raises(StorageFull):
        bench.runs.result(CALLER, run.id)
    bench.go("large")


@SQLITE
def test_an_answer_that_can_have_no_room_is_not_waited_for(open_bench: Any) -> None:
    bench: Bench = open_bench(**ROOM, run_lease=PATIENCE)
    run = bench.ended(bench.submit("counted", body({"name": "one", "size": 30_000})))
    assert (run.state, run.reason, len(bench.noted("begin one"))) == (RunState.FAILED, "storage-full", 1)


@SQLITE
def test_a_run_whose_answer_waits_for_room_is_cancelled(open_bench: Any) -> None:
    bench: Bench = open_bench(**ROOM)
    run = answered_without_room(bench)
    bench.runs.cancel(CALLER, run.id)
    assert (bench.ended(run).state, len(bench.noted("begin one"))) == (RunState.CANCELLED, 1)
    bench.go("large")


@SQLITE
def test_a_worker_that_stops_waits_for_no_room(open_bench: Any) -> None:
    bench: Bench = open_bench(**ROOM)
    run = answered_without_room(bench)
    bench.runs.close()
    assert not bench.runs.busy
    ended = bench.runs.get(CALLER, run.id)
    assert (ended.state, ended.reason, ended.attempts) == (RunState.FAILED, "storage-full", 1)


@SQLITE
def test_a_problem_for_which_the_disk_has_no_room_is_known_by_its_code(bench: Bench) -> None:
    run = bench.becomes(bench.submit("told", id="one"), RunState.RUNNING)
    store, error = bench.runs._store, RunAbandoned("The processes that executed this run died.")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))  # a write beyond it fails as on a full disk
    try:
        with problem_payload(store, error, "0" * 32) as payload:
            assert payload is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    holder = bench.runs._dispatcher.holder
    with bench.runs._ledger.changing() as changes:
        assert changes.move(run.key, lambda status: status.end(holder, RunState.FAILED)) is not None
        changes.explain(run.key, None, error)
    bench.go("one")
    assert bench.runs.problem(bench.runs.get(CALLER, "one"))["type"] == "urn:gateway:problem:run-abandoned"
    with pytest.raises(RunAbandoned):
        bench.runs.result(CALLER, "one")
