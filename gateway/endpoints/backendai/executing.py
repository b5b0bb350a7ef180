"""Executions in a session: a query or a batch as a run of the session's model, one answer after another."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from gateway.adapters.backendai import model_commands
from gateway.adapters.backendai.console import (
    record_of_log,
    record_of_media,
    record_of_progress,
    record_of_question,
)
from gateway.adapters.backendai.execution_words import (
    BUILT,
    CLEANED,
    CONTINUED,
    DONE,
    FAULT,
    FINISHED,
    INTERRUPTED,
    WAITING,
    ExecuteRequest,
    ExecutionResult,
    Record,
    read_code,
)
from gateway.adapters.backendai.session_paths import RESULTS
from gateway.endpoints.backendai.answering import input_of
from gateway.endpoints.backendai.building import BuildReport, build
from gateway.endpoints.backendai.compute_sessions import ComputeSession, ComputeSessions
from gateway.endpoints.backendai.run_bodies import body_of
from gateway.endpoints.backendai.session_files import SessionFiles
from gateway.errors import GatewayError, ParameterRefused, RunEnded, RunGone, RunNotFound, RunNotWaiting
from gateway.intake.admission import Ticket
from gateway.protocol.questions import is_secret
from gateway.runs.lifecycle import RunState
from gateway.runs.rows import LOG, PARTIAL, PREVIEW, PROGRESS, QUESTION, Run, RunEvent
from gateway.runs.runs import Runs
from gateway.runs.submissions import Submission
from gateway.service.service import Service

DOOR = "backendai"
BUILDING, EXECUTING, RUNNING, OVER = "build", "exec", "run", "over"
"""The stages: what the next request of an execution does."""
EVENTS = 50
"""Events of one answer."""
LOG_EVENTS = 1_000
"""Events of a run that the log of a session shows."""
UNKNOWN = "No execution of this runId is known in this session."


@dataclass(frozen=True)
class Executions:
    """The executions in the sessions of one application."""

    service: Service
    runs: Runs
    sessions: ComputeSessions
    files: SessionFiles

    def begin(self, session: ComputeSession, request: ExecuteRequest) -> ExecutionResult:
        """Begin a query or a batch, and return its first result. Raises what ``Runs.submit`` raises."""
        id = request.run_id or secrets.token_hex(8)
        if request.mode == "batch":
            self.sessions.add_execution(session, id, BUILDING, json.dumps(dict(request.commands)))
            return self._clean(session, id, request.commands.get("clean"))
        try:
            words = read_code(request.code)
        except ValueError as error:
            return ExecutionResult.refused(id, str(error))
        self.sessions.add_execution(session, id, EXECUTING, "{}")
        return self._submit(session, self._row(session, id), words)

    def proceed(self, session: ComputeSession, id: str) -> ExecutionResult:
        """Do the next step of a batch, or return what is new of a run. Raises RunNotFound."""
        row = self._row(session, id)
        if row.stage == BUILDING:
            return self._build(session, row)
        if row.stage == EXECUTING:
            return self._execute(session, row)
        return self._look(session, row)

    def answer(self, session: ComputeSession, id: str, text: str) -> ExecutionResult:
        """Answer the question of a run, and return what is new; an answer that does not fit is asked for again.

        Raises RunNotFound, RunNotWaiting.
        """
        row = self._row(session, id)
        if not row.run:
            raise RunNotWaiting("The execution waits for no input.")
        run = self.runs.get(session.caller, row.run)
        question = self.runs.question(run)
        if question is None:
            raise RunNotWaiting("The execution waits for no input.")
        try:
            self.runs.answer(session.caller, row.run, input_of(text, question.data), question.sequence)
        except ParameterRefused as error:  # the run goes on waiting
            return self._waiting(ExecutionResult(row.id, WAITING, None, [["stderr", f"{error.detail}\n"]]), question)
        return self._look(session, self._row(session, row.id))

    def place(self, session: ComputeSession, id: str) -> tuple[Run, int] | None:
        """Return the live run of an execution, and the number of the last event that its client knows."""
        row = self._row(session, id)
        if row.stage != RUNNING:
            return None
        run = self.runs.get(session.caller, row.run)
        return None if run.state.ended else (run, row.after)

    def interrupt(self, session: ComputeSession) -> None:
        """Cancel the live runs of a session."""
        for row in self.sessions.executions(session):
            self.cancel(session, row.id)

    def cancel(self, session: ComputeSession, id: str) -> None:
        """Cancel the run of an execution, if it has one that is live."""
        row = self.sessions.execution(session, id)
        if row is not None and row.stage == RUNNING:
            with suppress(RunEnded, RunNotFound, RunGone):
                self.runs.cancel(session.caller, row.run)

    def log(self, session: ComputeSession) -> str:
        """Return what the runs of a session wrote on standard output and standard error."""
        lines: list[str] = []
        for row in self.sessions.executions(session):
            try:
                run = self.runs.get(session.caller, row.run)
            except GatewayError:  # forgotten, or expired
                continue
            events = self.runs.events(run, 0, LOG_EVENTS)
            lines += [f"{event.data.get('text', '')}\n" for event in events if event.kind == LOG]
            lines += [f"{self._why(run)}\n"] if run.state in (RunState.REFUSED, RunState.FAILED) else []
        return "".join(lines)

    def _row(self, session: ComputeSession, id: str) -> Any:
        row = self.sessions.execution(session, id)
        if row is None:
            raise RunNotFound(UNKNOWN)
        return row

    def _clean(self, session: ComputeSession, id: str, command: str | None) -> ExecutionResult:
        """Forget the results of ended executions, where that is wanted. Files stay: a client uploads them before."""
        if command not in (None, model_commands.DEFAULT):
            return ExecutionResult.refused(id, f"This is not a shell: clean is {model_commands.DEFAULT}.", CLEANED)
        if command:
            ended = [row.id for row in self.sessions.executions(session) if row.stage == OVER]
            self.sessions.forget_executions(session, ended)
        return ExecutionResult(id, CLEANED, DONE)

    def _build(self, session: ComputeSession, row: Any) -> ExecutionResult:
        command = json.loads(row.options)["build"]
        if not self.sessions.advance(session, row, stage=EXECUTING):
            return ExecutionResult(row.id, CONTINUED)
        if command is None:
            return ExecutionResult(row.id, BUILT, DONE)
        if command != model_commands.DEFAULT:
            return ExecutionResult.refused(row.id, f"This is not a shell: build is {model_commands.DEFAULT}.", BUILT)
        with self._ticket():
            report: BuildReport = build(self.service.models[session.route], self.files, session)
        console: list[Record] = [["stdout", report.text], *([["stderr", report.faults]] if report.faults else [])]
        return ExecutionResult(row.id, BUILT, FAULT if report.faults else DONE, console)

    def _execute(self, session: ComputeSession, row: Any) -> ExecutionResult:
        command = json.loads(row.options)["exec"]
        if command is None:
            self.sessions.advance(session, row, stage=OVER)
            return ExecutionResult(row.id, FINISHED, DONE)
        names = {session.image, *model_commands.names_of(session.route)}
        try:
            words = model_commands.read_command(command, names)
        except ValueError as error:
            self.sessions.advance(session, row, stage=OVER)
            return ExecutionResult.refused(row.id, str(error))
        return self._submit(session, row, words)

    def _submit(self, session: ComputeSession, row: Any, words: dict[str, Any]) -> ExecutionResult:
        """Submit the run of an execution. A refusal is a result: a client ends there, as at any fault of a program."""
        id = secrets.token_hex(16)
        if not self.sessions.advance(session, row, stage=RUNNING, run=id):
            return ExecutionResult(row.id, CONTINUED)
        try:
            with self._ticket() as ticket, body_of(session, words, self.files, self.service) as body:
                submission = Submission(route=session.route, caller=session.caller, body=body, id=id, door=DOOR)
                self.runs.submit(submission, ticket)
        except GatewayError as error:
            again = error.status in (429, 503)
            self.sessions.advance(session, self._row(session, row.id), stage=row.stage if again else OVER, run="")
            if again:
                raise
            return ExecutionResult.refused(row.id, _sentence(error.problem()))
        return self._look(session, self._row(session, row.id))

    @contextmanager
    def _ticket(self) -> Iterator[Ticket]:
        ticket = self.service.admission.enter()
        try:
            yield ticket
        finally:
            ticket.leave()

    def _look(self, session: ComputeSession, row: Any) -> ExecutionResult:
        """Return what is new of a run, and its end once all is shown."""
        if not row.run:
            return ExecutionResult(row.id, FINISHED, FAULT)
        run = self.runs.get(session.caller, row.run)  # before its events: those of one that has ended are all there
        if row.stage == OVER:
            return ExecutionResult(row.id, FINISHED, _exit_code(run))
        events = self.runs.events(run, row.after, EVENTS)
        result = ExecutionResult(
            row.id, CONTINUED, None, [each for event in events for each in self._shown(run, event)]
        )
        if len(events) < EVENTS:
            self._conclude(session, run, result)
        after = events[-1].sequence if events else row.after
        stage = OVER if result.status == FINISHED else RUNNING
        if (after, stage) != (row.after, row.stage) and not self.sessions.advance(
            session, row, after=after, stage=stage
        ):
            return ExecutionResult(row.id, CONTINUED)  # another request shows it
        return result

    def _conclude(self, session: ComputeSession, run: Run, result: ExecutionResult) -> None:
        """Add the state of a run whose events are all shown."""
        if run.state is RunState.WAITING and (question := self.runs.question(run)) is not None:
            self._waiting(result, question)
        elif run.state.ended:
            result.status, result.exit_code = FINISHED, _exit_code(run)
            if run.state is RunState.FINISHED:
                stored = self.runs.result(run.caller, run.id)
                result.console.append(["stdout", bytes(stored.result.json_bytes).decode() + "\n"])
                names = [part.media_type for part in stored.result.parts]
                result.files = [_file(session, result.run_id, each) for each in result_names(names)]
            else:
                result.console.append(["stderr", f"{self._why(run)}\n"])

    def _waiting(self, result: ExecutionResult, question: RunEvent) -> ExecutionResult:
        result.status, result.question = WAITING, question.sequence
        result.options = {"is_password": is_secret(question.data)}
        return result

    def _shown(self, run: Run, event: RunEvent) -> list[Record]:
        if event.kind == LOG:
            return [record_of_log(event.data)]
        if event.kind == PROGRESS:
            return [record_of_progress(event.data, event.at)]
        if event.kind == QUESTION:
            return [record_of_question(event.data)]
        if event.kind in (PREVIEW, PARTIAL) and "media_type" in event.data:
            media_type, data = self.runs.payload(run, event.sequence)
            return [record_of_media(media_type, data)] if media_type.startswith(("image/", "text/html")) else []
        return []

    def _why(self, run: Run) -> str:
        return "The run was cancelled." if run.state is RunState.CANCELLED else _sentence(self.runs.problem(run))


def result_names(media_types: list[str]) -> list[str]:
    """Return the names of the files of a result: its JSON, then each binary part with the suffix of its type."""
    suffixes = {"application/dicom": "dcm", "application/json": "json", "image/png": "png", "image/svg+xml": "svg"}
    parts = (f"{number}.{suffixes.get(each, 'bin')}" for number, each in enumerate(media_types, 1))
    return ["answer.json", *parts]


def _file(session: ComputeSession, id: str, name: str) -> dict[str, str]:
    return {"name": f"{RESULTS}/{id}/{name}", "url": f"/session/{session.name}/download"}


def _exit_code(run: Run) -> int:
    if run.state is RunState.FINISHED:
        return DONE
    return INTERRUPTED if run.state is RunState.CANCELLED else FAULT


def _sentence(problem: dict[str, Any]) -> str:
    """Return a problem as lines of text: its title and its detail."""
    lines = str(problem.get("title", "The run failed")), str(problem.get("detail", ""))
    return "\n".join(dict.fromkeys(line for line in lines if line))
