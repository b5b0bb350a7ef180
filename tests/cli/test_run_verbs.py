"""``runs``, ``send --run`` and ``send --async`` against a real gateway with a store."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.client import Client
from gateway.dicom.samples import phantom
from tests.cli.conftest import Run
from tests.cli.terminals import seen_by_a_terminal
from tests.conftest import ROOT, Serve, Server


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models look for permission to go on."""
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def store(serve: Serve, notes: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("store")
    return serve("tests.apps.followed:app", GATEWAY_STORE_FOLDER=str(folder), TEST_NOTES=str(notes))


@pytest.fixture(scope="module")
def client(store: Server) -> Iterator[Client]:
    with Client(store.url) as client:
        yield client


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slices")
    phantom.write(folder, slices=4, size=16)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_study_is_sent_as_a_run_with_the_same_files_as_without(
    run: Run, store: Server, slices: Path, tmp_path: Path
) -> None:
    receipt = tmp_path / "receipt.json"
    for name, more in (("once", []), ("run", ["--run", "--receipt", receipt]), ("stored", ["--run", "--store"])):
        ran = run("send", "-i", slices, "-r", "/dense", "-o", tmp_path / name, "-p", store.port, *more)
        assert ran.status == 0, ran.err
    once, *others = (sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("once", "run", "stored"))
    assert [once, once] == others
    assert json.loads(receipt.read_text())["route"] == "/dense"


def test_async_prints_the_id_and_how_to_go_on(run: Run, store: Server, slices: Path, tmp_path: Path) -> None:
    sent = run("send", "-i", slices, "-r", "/dense", "-p", store.port, "--async", "--id", "scan-17", "-o", tmp_path)
    assert sent.status == 0, sent.err
    assert sent.out.splitlines()[0] == "run     scan-17"
    assert f"python -m gateway runs wait scan-17 --host http://127.0.0.1:{store.port}" in sent.out
    waited = run("runs", "wait", "scan-17", "--host", store.url)
    assert (waited.status, "state   finished" in waited.out) == (0, True)
    result = run("runs", "result", "scan-17", "-p", store.port, "-o", tmp_path / "result", "--json")
    assert result.status == 0, result.err
    assert json.loads(result.out)["findings"] == {"boolean_mask": 1}
    assert (tmp_path / "result" / "response.json").exists()
    pictures = tmp_path / "pictures"
    again = run("send", "-i", slices, "-r", "/dense", "-p", store.port, "--id", "scan-17", "-o", pictures)
    assert again.status == 0, again.err
    assert list(pictures.glob("*.png"))


def test_runs_are_listed_and_shown_for_people_and_for_scripts(run: Run, store: Server, client: Client) -> None:
    made = client.submit(None, "/counted", {"name": "listed"}, id="listed")
    made.wait()
    lines = [line.split("\t") for line in run("runs", "list", "-p", store.port, "-r", "/counted").out.splitlines()]
    assert lines[0][:3] == ["listed", "finished", "/counted"]
    listed = json.loads(run("runs", "list", "-p", store.port, "--state", "finished", "--limit", 1, "--json").out)
    assert [each["id"] for each in listed] == ["listed"]
    shown = run("runs", "show", "listed", "-p", store.port)
    assert "route   /counted\nstate   finished\n" in shown.out
    assert json.loads(run("runs", "show", "listed", "-p", store.port, "--json").out)["id"] == "listed"


def test_a_terminal_shows_a_table_and_the_models_own_text(client: Client, store: Server, notes: Path) -> None:
    client.submit(None, "/told", {"name": "[red]own"}, id="told")
    (notes / "go [red]own").touch()
    command = [sys.executable, "-m", "gateway", "runs", "wait", "told", "-p", store.port]
    assert "one third of [red]own" in seen_by_a_terminal(command, COLUMNS="120")


def test_events_are_lines_of_json_for_a_script(run: Run, store: Server, client: Client) -> None:
    client.submit(None, "/counted", {"name": "events"}, id="events")
    events = [json.loads(line) for line in run("runs", "events", "events", "-p", store.port, "--json").out.splitlines()]
    assert [event["data"]["state"] for event in events if event["event"] == "state"][-1] == "finished"
    last = events[-1]["sequence"]
    assert run("runs", "events", "events", "-p", store.port, "--after", last).out == ""


@pytest.mark.parametrize(("route", "state"), [("/refuses", "refused"), ("/fails", "failed")])
def test_a_run_without_an_answer_is_status_1_with_its_reason(
    run: Run, store: Server, client: Client, route: str, state: str, tmp_path: Path
) -> None:
    made = client.submit(None, route, {"name": "n"})
    waited = run("runs", "wait", made.id, "-p", store.port)
    assert waited.status == 1
    assert f"the run {made.id} is {state}: " in waited.err
    assert run("runs", "result", made.id, "-p", store.port, "-o", tmp_path).status == 1


def test_a_wait_that_ends_before_the_run_is_status_1(run: Run, store: Server, client: Client, notes: Path) -> None:
    client.submit(None, "/told", {"name": "long"}, id="long")
    waited = run("runs", "wait", "long", "--for", "0.1", "-p", store.port)
    assert "it goes on" in waited.err
    assert waited.status == 1
    cancelled = run("runs", "cancel", "long", "-p", store.port)
    assert cancelled.status == 0, cancelled.err
    ended = run("runs", "wait", "long", "-p", store.port)
    assert (ended.status, "is cancelled" in ended.err) == (1, True)
    assert run("runs", "forget", "long", "-p", store.port).status == 0
    assert run("runs", "show", "long", "-p", store.port).status == 1


def test_an_interrupt_leaves_the_run_and_tells_how_to_find_it(client: Client, store: Server, notes: Path) -> None:
    made = client.submit(None, "/told", {"name": "interrupted"}, id="interrupted")
    command = [sys.executable, "-m", "gateway", "runs", "events", "interrupted", "-p", str(store.port), "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        text = process.stderr.read()
    assert process.returncode == 130
    assert f"the run goes on; wait for it with: python -m gateway runs wait interrupted --host {store.url}" in text
    assert not made.refresh().ended
    (notes / "go interrupted").touch()


def test_an_unknown_run_and_a_missing_server_have_their_statuses(run: Run, store: Server, service: Server) -> None:
    assert run("runs", "show", "unknown", "-p", store.port).status == 1
    without = run("runs", "list", "-p", service.port)
    assert (without.status, "GATEWAY_STORE_FOLDER" in without.err) == (1, True)
    assert run("runs", "list", "-p", 9).status == 3
    assert run("runs", "wait").status == 2
    assert run("runs", "wait", "a", "--for", "soon").status == 2
    assert run("send", "-i", ".", "--async", "--receipt", "r").status == 2
