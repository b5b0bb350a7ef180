"""A gateway with a store on each database, and its runs, in this process."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from gateway import Gateway, Point, Settings
from gateway.intake.body import Body
from gateway.protocol.questions import reply_words
from gateway.runs.lifecycle import RunState
from gateway.runs.rows import Run, RunEvent
from gateway.runs.runs import Runs
from gateway.runs.submissions import Submission
from gateway.wire import OutgoingPart, encode
from tests.apps import durable
from tests.studies.conftest import cluster, database_url
from tests.waiting import PATIENCE, eventually

__all__ = ["cluster", "database_url"]

CALLER = "alice"
ON_POSTGRESQL = ("answer_of_its_route", "at_once", "another_process", "two_processes", "forgotten_study", "quota")
"""Words of the tests that ``make test`` repeats on PostgreSQL; the others are repeated by the slow tests."""
BOUNDARY = "b0undary"
ANSWERS = [Point(1, 2, 3), "b", 4.5]
"""What the model ``guided`` asks for, in its order."""
FOUND = {"point": [1.0, 2.0, 3.0], "choice": "b", "number": 4.5}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most of the repetitions on PostgreSQL to the slow tests."""
    for item in items:
        repeated = item.path.name in ("test_runs.py", "test_interactive_runs.py") and "[postgresql" in item.nodeid
        if repeated and not any(word in item.name for word in ON_POSTGRESQL):
            item.add_marker("slow")


def body(json_input: object, *files: bytes, boundary: str = BOUNDARY) -> Body:
    """A body of protocol 1.0 that is read once."""
    parts = [OutgoingPart.named("json", "application/json", json.dumps(json_input).encode())]
    parts += [OutgoingPart.named("file", "application/dicom", data) for data in files]
    data = b"".join(encode(boundary, parts))
    return Body(f"multipart/related; boundary={boundary}", "", len(data), iter([data]))


def words(json_input: object) -> Body:
    """A body of JSON alone."""
    data = json.dumps(json_input).encode()
    return Body("application/json", "", len(data), iter([data]))


class Bench:
    """One process of a gateway with runs. ``notes`` has what its models note, and the files that they wait for."""

    def __init__(self, store: Path, database_url: str, notes: Path, **settings: Any) -> None:
        self.notes = notes
        self.settings = Settings(store_folder=store, database_url=database_url, **settings)
        self.app: Gateway = durable.make(self.settings)
        self.app.open()
        assert self.app.runs is not None
        self.runs: Runs = self.app.runs

    def submit(self, route: str, sent: Body | None = None, id: str = "", caller: str = CALLER, **more: Any) -> Run:
        return self.submitted(route, sent, id, caller, **more)[0]

    def submitted(
        self, route: str, sent: Body | None = None, id: str = "", caller: str = CALLER, **more: Any
    ) -> tuple[Run, bool]:
        """The run, and whether it is new."""
        submission = Submission(route=f"/{route}", caller=caller, id=id, body=sent or body({"name": id}), **more)
        ticket = self.app.service.admission.enter()
        try:
            return self.runs.submit(submission, ticket)
        finally:
            ticket.leave()

    def ended(self, run: Run) -> Run:
        """The run once it has ended."""
        last = self.runs.wait(run.caller, run.id, PATIENCE)
        assert last.state.ended
        return last

    def becomes(self, run: Run, state: RunState) -> Run:
        """The run once it is in a state."""
        return eventually(lambda: now if (now := self.runs.get(run.caller, run.id)).state is state else None)

    def go(self, name: str) -> None:
        """Let a model that waits end."""
        (self.notes / f"go {name}").touch()

    def noted(self, line: str) -> list[int]:
        """The processes that noted a line."""
        path = self.notes / "executions"
        lines = [each.rpartition(" ") for each in path.read_text().splitlines()] if path.exists() else []
        return [int(pid) for written, _, pid in lines if written == line]

    def kinds(self, run: Run) -> list[str]:
        """Kinds of the run's events, with the word of a state."""
        return [event.data.get("state", event.kind) for event in self.runs.events(run, limit=1000)]

    def rows(self) -> str:
        """Every value of every table of the index, as text."""
        url = self.settings.database_url.replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url or f"sqlite:///{self.settings.store_folder}/index.sqlite")
        with engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            lines = [str(connection.execute(text(f'SELECT * FROM "{name}"')).all()) for name in tables]
        engine.dispose()
        return "\n".join(lines)

    def payloads(self) -> list[Path]:
        """The files of payloads."""
        folder = Path(str(self.settings.store_folder)) / "runs"
        return [path for path in folder.rglob("*") if path.is_file()]

    def close(self) -> None:
        self.app.close()
        assert self.app.service.store is not None
        self.app.service.store.store.close()


def asked(bench: Bench, run: Run, after: int = 0) -> RunEvent:
    """The question of a run, once it has one with a number above ``after``."""

    def look() -> RunEvent | None:
        question = bench.runs.question(bench.runs.get(run.caller, run.id))
        return question if question is not None and question.sequence > after else None

    return eventually(look)


def reply(bench: Bench, run: Run, value: Any, after: int = 0) -> int:
    """Answer the next question of a run; return its number."""
    question = asked(bench, run, after)
    bench.runs.answer(run.caller, run.id, reply_words(value), question.sequence)
    return question.sequence


def converse(bench: Bench, run: Run, answers: list[Any], after: int = 0) -> int:
    """Answer so many questions of a run; return the number of the last."""
    for value in answers:
        after = reply(bench, run, value, after)
    return after


def found(bench: Bench, run: Run) -> Any:
    """The labels of a run's result."""
    ended = bench.ended(run)
    assert ended.state is RunState.FINISHED, bench.runs.problem(ended)
    return json.loads(bytes(bench.runs.result(run.caller, run.id).result.json_bytes))["study_ml_json"]


def events(bench: Bench, run: Run, kind: str) -> list[RunEvent]:
    """The events of one kind."""
    return [event for event in bench.runs.events(run, limit=1000) if event.kind == kind]


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setattr(durable, "NOTES", folder)
    monkeypatch.setitem(os.environ, "TEST_NOTES", str(folder))
    return folder


@pytest.fixture
def open_bench(tmp_path: Path, database_url: str, notes: Path) -> Iterator[Any]:
    """Open processes of one gateway: all share a store."""
    opened: list[Bench] = []

    def start(**settings: Any) -> Bench:
        opened.append(Bench(tmp_path / "store", database_url, notes, **settings))
        return opened[-1]

    yield start
    for bench in opened:
        bench.close()


@pytest.fixture
def bench(open_bench: Any) -> Bench:
    made: Bench = open_bench()
    return made
