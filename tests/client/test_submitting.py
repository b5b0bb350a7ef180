"""Runs of a client: submitted once, waited for, followed and ended, over HTTP and in the process."""

import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from gateway import Client, LocalClient
from gateway.client import Refused, TimedOut
from gateway.dicom.samples import phantom
from tests.apps import durable
from tests.conftest import Serve
from tests.waiting import PATIENCE, eventually

NUMBERS = count()
"""For names that no other test uses."""
SERVICE = "tests.apps.followed:app"
Make = Callable[[], Client]


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the models note what they do, and look for permission to go on."""
    before, durable.NOTES = durable.NOTES, tmp_path_factory.mktemp("notes")
    yield durable.NOTES
    durable.NOTES = before


@pytest.fixture(scope="module", params=["server", "folder"])
def make(request: pytest.FixtureRequest, serve: Serve, notes: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A client of a gateway with a store: over HTTP, or on a folder."""
    folder, cache = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("cache")
    if request.param == "folder":
        return lambda: LocalClient(folder, SERVICE, cache=cache)
    server = serve(SERVICE, GATEWAY_STORE_FOLDER=str(folder), TEST_NOTES=str(notes))
    return lambda: Client(server.url, timeout=60, cache=cache)


@pytest.fixture(scope="module")
def client(make: Make) -> Iterator[Client]:
    with make() as client:
        yield client


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    phantom.write(folder, slices=4, size=16)
    return folder


def executions(notes: Path, line: str) -> int:
    file = notes / "executions"
    return sum(each.rpartition(" ")[0] == line for each in file.read_text().splitlines()) if file.exists() else 0


def test_the_result_of_a_run_is_that_of_infer(client: Client, study: Path) -> None:
    expected = client.infer(study, "/dense", {"threshold": 100})
    run = client.submit(study, "/dense", {"threshold": 100})
    assert run.wait()
    assert (run.state, run.route, run.ended) == ("finished", "/dense", True)
    result = run.result()
    assert result.answer.output_digest == expected.answer.output_digest
    assert np.array_equal(result.masks[0], expected.masks[0])
    assert np.array_equal(result.findings[0].of.affine, expected.findings[0].of.affine)
    assert run.answer().json == expected.answer.json


def test_a_stored_study_is_referred_to(client: Client, study: Path) -> None:
    uploaded = client.upload(study)
    expected = client.infer(uploaded, "/dense")
    result = client.submit(uploaded, "/dense").result()
    assert result.answer.output_digest == expected.answer.output_digest
    assert np.array_equal(result.findings[0].of.affine, expected.findings[0].of.affine)


def test_the_same_id_and_input_is_one_run_and_another_input_is_refused(client: Client, notes: Path) -> None:
    name = f"once-{next(NUMBERS)}"
    for _ in range(2):
        run = client.submit(None, "/counted", {"name": name}, id=name)
        assert run.answer().json["study_ml_json"]["name"] == name
    assert executions(notes, f"begin {name}") == 1
    with pytest.raises(Refused) as refused:
        client.submit(None, "/counted", {"name": "twice"}, id=run.id)
    assert (refused.value.status, refused.value.code) == (409, "run-conflict")


def test_the_events_tell_progress_and_lines_and_end_with_the_run(client: Client, notes: Path) -> None:
    name = f"events-{next(NUMBERS)}"
    run = client.submit(None, "/told", {"name": name})
    events = run.events()
    seen = [next(events)]
    while not {"progress", "log"} <= {event.kind for event in seen}:
        seen.append(next(events))
    assert run.progress is not None
    assert (run.progress["done"], run.progress["total"]) == (1, 3)
    assert run.progress["text"] == f"one third of {name}"
    assert not run.ended
    (notes / f"go {name}").touch()
    seen += events
    assert [event.sequence for event in seen] == sorted({event.sequence for event in seen})
    assert [event.data["state"] for event in seen if event.kind == "state"] == ["queued", "running", "finished"]
    assert any(f"a line of {name}" in event.data["text"] for event in seen if event.kind == "log")
    assert (run.state, list(run.events(after=seen[-1].sequence))) == ("finished", [])


def test_a_wait_ends_with_its_time_and_the_run_goes_on(client: Client, notes: Path) -> None:
    name = f"waits-{next(NUMBERS)}"
    run = client.submit(None, "/told", {"name": name})
    assert not run.wait(0.2)
    with pytest.raises(TimedOut):
        run.answer(timeout=0)
    (notes / f"go {name}").touch()
    assert client.run(run.id).wait()
    assert run.refresh().state == "finished"


def test_a_cancelled_run_has_no_answer_and_a_live_one_is_not_forgotten(client: Client, notes: Path) -> None:
    name = f"cancelled-{next(NUMBERS)}"
    run = client.submit(None, "/told", {"name": name})
    with pytest.raises(Refused):
        run.forget()
    run.cancel()
    assert run.wait()
    assert run.state == "cancelled"
    with pytest.raises(Refused) as refused:
        run.answer()
    assert refused.value.code == "run-cancelled"


def test_an_ended_run_is_not_cancelled_but_forgotten(client: Client) -> None:
    run = client.submit(None, "/quick", {"a": 1})
    assert run.wait()
    with pytest.raises(Refused):
        run.cancel()
    assert run.answer().json["study_ml_json"]["json"] == {"a": 1}
    run.forget()
    with pytest.raises(Refused) as refused:
        client.run(run.id)
    assert refused.value.code in ("run-not-found", "run-gone")
    run.forget()


@pytest.mark.parametrize(
    ("route", "state", "code"), [("/refuses", "refused", "study-refused"), ("/fails", "failed", "model-failed")]
)
def test_a_refusal_and_a_failure_are_those_of_infer(client: Client, route: str, state: str, code: str) -> None:
    run = client.submit(None, route, {"name": "n"})
    with pytest.raises(Refused) as refused:
        run.result()
    assert (refused.value.code, run.state) == (code, state)
    assert run.refresh().problem is not None


def test_runs_are_listed_by_state_and_route(client: Client) -> None:
    runs = [client.submit(None, "/quick", {"number": number}) for number in range(3)]
    assert all(run.wait() for run in runs)
    listed = client.runs(route="/quick", state="finished", limit=3)
    assert [run.id for run in listed] == [run.id for run in reversed(runs)]
    assert client.runs(route="/quick", state="queued") == []
    since = str(runs[1].words["created"])
    assert {run.id for run in client.runs(route="/quick", since=since)} == {runs[1].id, runs[2].id}


@pytest.mark.parametrize("id", ["a/b", "", ".", "ä" * 80])
def test_an_impossible_id_is_refused_in_words(client: Client, id: str) -> None:
    with pytest.raises(Exception) as refused:
        client.submit(None, "/quick", {}, id=id or "..")
    assert "id" in str(refused.value) or "name" in str(refused.value)


def test_a_webhook_of_no_allowed_origin_makes_no_run(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        client.submit(None, "/quick", {}, id="no-webhook", webhook="https://hooks.example.org/")
    assert refused.value.code == "webhook-refused"
    with pytest.raises(Refused) as missing:
        client.run("no-webhook")
    assert missing.value.status == 404


def test_several_threads_wait_for_one_run(client: Client, notes: Path) -> None:
    name = f"threads-{next(NUMBERS)}"
    run = client.submit(None, "/told", {"name": name})
    states: list[str] = []

    def wait() -> None:
        mine = client.run(run.id)
        mine.wait()
        states.append(mine.state)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: executions(notes, f"begin {name}"))
    (notes / f"go {name}").touch()
    for thread in threads:
        thread.join()
    assert states == ["finished"] * 4


def test_the_questions_of_a_run_are_answered_in_their_order(client: Client) -> None:
    run = client.submit(None, "/asks", {})
    assert not run.wait(PATIENCE)
    assert (run.state, (run.question or {}).get("number")) == ("waiting-input", 1)
    with pytest.raises(TimedOut, match="answer it with reply"):
        run.answer(PATIENCE)
    for event in run.events():
        if event.kind == "question":
            run.reply({"answer": event.data["number"] * 10})
    assert run.answer().json["study_ml_json"]["answers"] == [{"answer": 10}, {"answer": 20}]
    with pytest.raises(Refused) as refused:
        run.reply({"answer": 30})
    assert refused.value.code == "run-not-waiting"
