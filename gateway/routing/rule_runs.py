"""The run of a routing: submitted, watched, and what its end means for the study."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from gateway.errors import (
    GatewayError,
    ParameterRefused,
    RunConflict,
    RunGone,
    RunNotFound,
    StorageFull,
    StudyNotFound,
    TooManyRequests,
    Unavailable,
)
from gateway.intake.body import Body
from gateway.routing.result_objects import ResultObjects
from gateway.routing.rules import Rule
from gateway.runs.lifecycle import LIVE, RunState
from gateway.runs.rows import Run
from gateway.runs.runs import Runs
from gateway.runs.submissions import Submission
from gateway.service.service import Service
from gateway.studies import routing_rows
from gateway.studies.routing_rows import Routing, RoutingState
from gateway.studies.store import Store
from gateway.studies.stow_upload import DICOM_TYPE
from gateway.studies.tables import runs as table

logger = logging.getLogger("gateway")

LOOK_SECONDS = 60.0
"""Seconds between two looks at a run whose end was not signalled: its process died with the signal."""
BUSY_SECONDS = 2.0
"""Seconds before a step is repeated for which there was no place, or no room."""
DOOR = "routing"

NO_RULE = "The file of rules has no such rule any more; put it back, or leave the study alone."
LOST = "The run was removed before its results were stored."
CANCELLED = "The run was cancelled."


def run_id(routing: Routing) -> str:
    """Return the id of the next run of a routing: the same from each process, so that it is submitted once."""
    identity = json.dumps([routing.rule, routing.content]).encode()
    return f"routing-{hashlib.sha256(identity).hexdigest()[:40]}-{routing.tries + 1}"


class RuleRuns:
    """Takes a claimed routing a step further."""

    def __init__(
        self,
        service: Service,
        runs: Runs,
        store: Store,
        rules: Sequence[Rule],
        objects: ResultObjects,
        holder: str,
    ) -> None:
        """``holder`` is the name by which this process claims routings."""
        self._service, self._runs, self._store, self._holder = service, runs, store, holder
        self._rules: Mapping[str, Rule] = {rule.name: rule for rule in rules}
        self._objects = objects
        self._steps: Mapping[RoutingState, Callable[[Routing, Rule], None]] = {
            RoutingState.PENDING: self._submit,
            RoutingState.RUNNING: self._watch,
        }

    def step(self, claimed: Routing) -> None:
        """Submit the run of a claimed routing, or look at it, and give the routing back. Raises Unavailable."""
        rule = self._rules.get(claimed.rule)
        if rule is None:
            self._settle(claimed, RoutingState.FAILED, NO_RULE)
            return
        try:
            self._steps[claimed.state](claimed, rule)
        except (StorageFull, TooManyRequests, Unavailable) as error:
            logger.warning("routing %s waits: %s %s", claimed.id, error.code, error.private)
            self._settle(claimed, claimed.state, error.detail, pause=BUSY_SECONDS)

    def _submit(self, claimed: Routing, rule: Rule) -> None:
        text = json.dumps({**rule.parameters, "instances": list(claimed.digests)}).encode()
        body = Body("application/json", "", len(text), iter([text]))
        submission = Submission(
            route=rule.model, caller=claimed.caller, body=body, id=run_id(claimed), accept=DICOM_TYPE, door=DOOR
        )
        ticket = self._service.admission.enter()
        try:
            run, _ = self._runs.submit(submission, ticket)
        except (RunConflict, RunGone):  # of a former form of the rule: the next id is free
            self._settle(claimed, RoutingState.PENDING, "", tries=claimed.tries + 1)
            return
        except (ParameterRefused, StudyNotFound) as error:
            self._settle(claimed, RoutingState.FAILED, error.detail, tries=claimed.tries + 1)
            return
        finally:
            ticket.leave()
        self._follow(claimed, run, tries=claimed.tries + 1)

    def _follow(self, claimed: Routing, run: Run, **columns: Any) -> None:
        """Wait for the end of a run; where it has ended by now, nothing tells any more."""
        with self._store.index.writing() as connection:
            now = self._store.clock()
            state = connection.execute(select(table.c.state).where(table.c.key == run.key)).scalar_one_or_none()
            due_at = now + LOOK_SECONDS if state in LIVE else now
            values = {"state": RoutingState.RUNNING.value, "run": run.id, "run_key": run.key, "sentence": ""}
            routing_rows.settle(connection, claimed.id, self._holder, due_at, **values, **columns)

    def _watch(self, claimed: Routing, rule: Rule) -> None:
        try:
            run = self._runs.get(claimed.caller, claimed.run)
            if not run.state.ended:
                self._follow(claimed, run)
            elif run.state is RunState.FINISHED:
                self._finish(claimed, rule)
            elif run.state is RunState.CANCELLED:
                self._settle(claimed, RoutingState.CANCELLED, CANCELLED)
            elif run.state is RunState.REFUSED:
                self._objects.explain(claimed, rule, RoutingState.REFUSED, self._sentence(run))
            else:
                self._fail(claimed, rule, self._sentence(run))
        except (RunNotFound, RunGone):
            self._fail(claimed, rule, LOST)

    def _finish(self, claimed: Routing, rule: Rule) -> None:
        result = self._runs.result(claimed.caller, claimed.run).result
        objects = [part.data for part in result.parts if part.media_type == DICOM_TYPE]
        try:
            self._objects.store(claimed, rule, objects)
        except (StorageFull, Unavailable):
            raise
        except GatewayError as error:
            self._fail(claimed, rule, error.detail)

    def _sentence(self, run: Run) -> str:
        return str(self._runs.problem(run).get("detail") or run.reason)

    def _fail(self, claimed: Routing, rule: Rule, sentence: str) -> None:
        """Have the rule try again after its pause, or wait for a person after its last try."""
        if claimed.tries <= rule.retries:
            self._settle(claimed, RoutingState.PENDING, sentence, pause=rule.retry_seconds)
        else:
            self._objects.explain(claimed, rule, RoutingState.FAILED, sentence)

    def _settle(
        self, claimed: Routing, state: RoutingState, sentence: str, *, pause: float = 0.0, **columns: Any
    ) -> None:
        with self._store.index.writing() as connection:
            now = self._store.clock()
            live = state in routing_rows.LIVE_ROUTINGS
            values = {"state": state.value, "sentence": sentence, "ended_at": None if live else now, **columns}
            routing_rows.settle(connection, claimed.id, self._holder, now + pause, **values)
