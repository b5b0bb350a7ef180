"""The runs of a store as a caller reads them: their states, events and results."""

from collections.abc import Iterable
from typing import Any, BinaryIO

from sqlalchemy import Select, func, select

from gateway.contract.requests import JSON
from gateway.errors import (
    GatewayError,
    ParameterRefused,
    RunCancelled,
    RunGone,
    RunNotFound,
    RunNotReady,
    from_words,
    to_words,
)
from gateway.intake.recording import recorded_json
from gateway.runs.ledger import Ledger
from gateway.runs.lifecycle import RunState
from gateway.runs.payloads import Words, opened, read
from gateway.runs.result_payloads import unpacked
from gateway.runs.rows import (
    EVENT_KINDS,
    INPUT,
    PROBLEM,
    PROGRESS,
    QUESTION,
    RESULT,
    Run,
    RunEvent,
    key_of,
    last_record,
    row_of,
)
from gateway.studies.blobs import Spoiled
from gateway.studies.instance_rows import pieces
from gateway.studies.results import StoredResult
from gateway.studies.store import Store
from gateway.studies.tables import run_records, run_studies, runs

_LOST = GatewayError("The stored problem of this run has changed on the disk.")
LOST: Words = {"error": to_words(_LOST), "problem": _LOST.problem()}
"""What stands for a problem whose file cannot be read."""
SPOILED = "The stored input of this run has changed on the disk; submit it again under another id."
RETRY_SECONDS = 2
"""When the result of a live run may be asked for again."""


class RunArchive:
    """The runs of one store. A caller reads its own runs alone."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store, self._ledger = store, ledger

    def get(self, caller: str, id: str) -> Run:
        """Return a caller's run as it is now. Raises RunNotFound, RunGone, Unavailable."""
        with self._ledger.reading() as connection:
            row = row_of(connection, key_of(caller, id))
        if row is None:
            raise RunNotFound("No run of this id is stored for this caller.")
        if row.expired:
            raise RunGone("The run has expired, with its input and its result.")
        return Run.of(row)

    def ahead(self, run: Run) -> int:
        """Return how many queued runs of the route are older."""
        older = runs.c.created_at < run.created_at, runs.c.route == run.route, runs.c.state == RunState.QUEUED.value
        with self._ledger.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(runs).where(*older)).scalar_one())

    def page(
        self,
        caller: str,
        *,
        state: str = "",
        route: str = "",
        study: str = "",
        since: float = 0.0,
        limit: int = 100,
        after: str = "",
    ) -> list[Run]:
        """Return a caller's runs from the time ``since`` on, the newest first, behind the one with the id ``after``.

        Raises ParameterRefused where that one is gone, Unavailable.
        """
        mine = [runs.c.caller == caller, ~runs.c.expired, runs.c.created_at >= since]
        mine += [runs.c.state == state] if state else []
        mine += [runs.c.route == route] if route else []
        mine += [runs.c.key.in_(_keys_of_study(study))] if study else []
        with self._ledger.reading() as connection:
            last = row_of(connection, key_of(caller, after)) if after else None
            if after and last is None:
                raise ParameterRefused([("/after", "This run is gone; begin again with the first page.")])
            if last is not None:
                earlier = runs.c.created_at < last.created_at
                mine.append(earlier | ((runs.c.created_at == last.created_at) & (runs.c.key < last.key)))
            query = select(runs).where(*mine).order_by(runs.c.created_at.desc(), runs.c.key.desc()).limit(limit)
            return [Run.of(row) for row in connection.execute(query)]

    def studies(self, run: Run) -> list[str]:
        """Return the UIDs of the studies that a run has read, in order. Raises Unavailable."""
        query = select(run_studies.c.study_instance_uid).where(run_studies.c.key == run.key)
        with self._ledger.reading() as connection:
            return sorted(connection.execute(query).scalars())

    def numbers_by_study(self, caller: str, studies: Iterable[str]) -> dict[str, int]:
        """Return how many of a caller's runs are on each of some studies; none of a study without. Raises Unavailable.

        Runs that have expired do not count.
        """
        study = run_studies.c.study_instance_uid
        query = select(study, func.count()).join(runs, runs.c.key == run_studies.c.key)
        query = query.where(runs.c.caller == caller, ~runs.c.expired).group_by(study)
        with self._ledger.reading() as connection:
            rows = [row for some in pieces(studies) for row in connection.execute(query.where(study.in_(some)))]
        return {uid: int(count) for uid, count in rows}

    def events(self, run: Run, after: int = 0, limit: int = 100) -> list[RunEvent]:
        """Return the events of a run with sequence numbers above ``after``, in order. Raises Unavailable."""
        records = run_records.c.key == run.key, run_records.c.sequence > after, run_records.c.kind.in_(EVENT_KINDS)
        with self._ledger.reading() as connection:
            query = select(run_records).where(*records).order_by(run_records.c.sequence).limit(limit)
            rows = connection.execute(query).all()
        return [event for row in rows if (event := self._event(row)) is not None]

    def _event(self, row: Any) -> RunEvent | None:
        try:
            data = read(self._store, row)[0] if row.location else {"state": row.state}
        except Spoiled:  # a newer progress has replaced it since
            return None
        return RunEvent(sequence=row.sequence, kind=row.kind, at=row.at, data=data)

    def payload(self, run: Run, sequence: int) -> tuple[str, memoryview]:
        """Return the media type and the bytes of an event that has some, such as a preview. Raises RunNotFound."""
        condition = run_records.c.key == run.key, run_records.c.sequence == sequence
        with self._ledger.reading() as connection:
            row = connection.execute(select(run_records).where(*condition)).one_or_none()
        try:
            words, data = read(self._store, row) if row is not None and row.kind in EVENT_KINDS else ({}, b"")
        except Spoiled:
            words, data = {}, b""
        if "media_type" not in words:
            raise RunNotFound("This event of the run has no payload.")
        return str(words["media_type"]), memoryview(data)

    def question(self, run: Run) -> RunEvent | None:
        """Return the question that a run waits for an answer to; None where it waits for none."""
        if run.state is not RunState.WAITING:
            return None
        with self._ledger.reading() as connection:
            row = last_record(connection, run.key, QUESTION)
        return None if row is None else self._event(row)

    def progress(self, run: Run) -> dict[str, Any] | None:
        """Return the newest progress: ``done``, ``total`` and ``text``; None without one."""
        return self._words(run, PROGRESS)

    def problem(self, run: Run) -> dict[str, Any]:
        """Return the problem of a refused or failed run, in the words of a request's; {} of another."""
        return dict(words["problem"]) if (words := self._explained(run)) else {}

    def request(self, run: Run) -> JSON:
        """Return the request of a run that is JSON alone, which names what is stored.

        Raises RunNotFound where the run is forgotten or its files were sent with it, GatewayError for one that has
        changed on the disk.
        """
        if (found := open_input(self._ledger, run)) is None:
            raise RunNotFound("The run was forgotten.")
        words, file = found
        with file:
            json = recorded_json(words["body"], file)
        if json is None:
            raise RunNotFound("The files of this run were sent with it: open the study, and run the model again.")
        return json

    def _explained(self, run: Run) -> Words | None:
        """Return the words of a problem; of one that a full disk had no room for, what its code says."""
        words = self._words(run, PROBLEM, spoiled=LOST)
        if words is None and (reason := self.get(run.caller, run.id).reason):
            error = from_words({"code": reason, "detail": "", "private": "", "members": {}})
            words = {"error": to_words(error), "problem": error.problem()}
        return words

    def result(self, caller: str, id: str) -> StoredResult:
        """Return the answer of a finished run. Raises RunNotReady for a live run, RunCancelled, RunNotFound, RunGone,
        and the error of one that was refused or failed."""
        run = self.get(caller, id)
        if not run.state.ended:
            raise RunNotReady("The run has no result yet.", retry_after=RETRY_SECONDS)
        if run.state is RunState.CANCELLED:
            raise RunCancelled("The run was cancelled and has no result.")
        if run.state is not RunState.FINISHED:
            raise from_words((self._explained(run) or LOST)["error"])
        return self._result(run)

    def _result(self, run: Run) -> StoredResult:
        with self._ledger.reading() as connection:
            record = last_record(connection, run.key, RESULT)
        if record is None:
            raise RunNotFound("The run was forgotten.")
        try:
            words, body = read(self._store, record)
        except Spoiled:
            raise RunGone("The stored result has changed on the disk; submit the run again under another id.") from None
        result = unpacked(words, body)
        age = max(0, int(self._store.index.now() - (run.ended_at or 0)))
        return StoredResult(run.id, result, words["output_digest"], age, words["algorithm"], words.get("receipt"))

    def _words(self, run: Run, kind: str, *, spoiled: Words | None = None) -> Words | None:
        """Return the words of the last record of a kind; None without one, ``spoiled`` where its file has changed."""
        with self._ledger.reading() as connection:
            record = last_record(connection, run.key, kind)
        try:
            return None if record is None else read(self._store, record)[0]
        except Spoiled:
            return spoiled


def open_input(ledger: Ledger, run: Run) -> tuple[Words, BinaryIO] | None:
    """Return the words of a run's stored request, and the file that begins with its parts; None for a forgotten run.

    Raises GatewayError for one that has changed on the disk.
    """
    with ledger.reading() as connection:
        record = last_record(connection, run.key, INPUT)
    if record is None:
        return None
    try:
        return opened(ledger.store, record)
    except Spoiled:
        raise GatewayError(SPOILED) from None


def _keys_of_study(study: str) -> Select[tuple[str]]:
    return select(run_studies.c.key).where(run_studies.c.study_instance_uid == study)
