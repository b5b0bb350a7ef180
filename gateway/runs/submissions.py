"""Submission of a run: its body is received and stored, and the run is queued, or found again by its id."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from gateway.config import Settings
from gateway.errors import ParameterRefused, RunConflict, RunGone, RunIdRefused, TooManyRequests
from gateway.intake.admission import Ticket
from gateway.intake.body import Body
from gateway.intake.receiving import named_study
from gateway.intake.recording import RecordedBody, record
from gateway.runs.ledger import Changes, Ledger
from gateway.runs.lifecycle import LIVE, RunState
from gateway.runs.payloads import Payload, new_payload
from gateway.runs.rows import INPUT, STATE, Run, key_of, row_of
from gateway.service.service import Service
from gateway.studies import run_rows
from gateway.studies.tables import runs

ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}")
"""Clients remove ``.`` and ``..`` from a path (RFC 3986 5.2.4)."""
BUSY_SECONDS = 30
"""When a caller whose runs are all live may submit another."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """An inference to be run: a request for ``route``, and the ``id`` that its caller chose, "" for a new one.

    ``timeout`` is in seconds from the claim to the answer; the other members are those of ``exchange.Head``.
    ``door`` is the protocol by which it arrived.
    """

    route: str
    caller: str
    body: Body
    id: str = ""
    accept: str = ""
    traceparent: str = ""
    no_cache: bool = False
    timeout: float | None = None
    door: str = "runs"


class Submissions:
    """The entrance of runs."""

    def __init__(self, service: Service, ledger: Ledger) -> None:
        self._service, self._ledger = service, ledger
        self._settings: Settings = service.settings

    def submit(self, submission: Submission, ticket: Ticket) -> tuple[Run, bool]:
        """Store the body and queue the run; True where it is new, False where the same run was submitted before.

        Raises as ``Runs.submit``.
        """
        if submission.id and not ID.fullmatch(submission.id):
            raise RunIdRefused(
                "An id has 1 to 64 letters, digits, dots, underscores and hyphens of ASCII, and is not . or .. alone."
            )
        model = self._service.models.get(submission.route)
        if model is None or not model.durable:
            raise ParameterRefused([("/route", "No model that answers runs is on this route.")])
        with new_payload(self._ledger.store) as payload:
            lists = model.list_parameters
            recorded = record(submission.body, self._settings, ticket, payload.incoming.write, lists)
            known = self._known(submission, recorded)
            if known is not None:
                return known, False
            return self._queue(submission, recorded, payload)

    def _known(self, submission: Submission, recorded: RecordedBody) -> Run | None:
        if not submission.id:
            return None
        with self._ledger.reading() as connection:
            row = row_of(connection, key_of(submission.caller, submission.id))
        return _same(row, submission, recorded) if row is not None else None

    def _queue(self, submission: Submission, recorded: RecordedBody, payload: Payload) -> tuple[Run, bool]:
        studies = self._studies(submission, recorded, payload)
        payload.settle(_words(submission, recorded, bool(studies)))
        id = submission.id or secrets.token_hex(16)
        key = key_of(submission.caller, id)
        with self._ledger.changing() as changes:
            row = row_of(changes.connection, key)
            if row is not None:  # another request was faster
                return _same(row, submission, recorded), False
            self._bound(changes, submission.caller)
            changes.make_room(submission.caller, payload.size, studies)
            columns = {"caller": submission.caller, "id": id, "route": submission.route}
            changes.add(key, body_digest=recorded.digest, **columns)
            changes.record(key, INPUT, payload)
            changes.record(key, STATE, state=RunState.QUEUED.value)
            changes.note_studies(key, studies)
            changes.signals[key] = RunState.QUEUED.value
            return Run.of(row_of(changes.connection, key)), True

    def _studies(self, submission: Submission, recorded: RecordedBody, payload: Payload) -> set[str]:
        """Return the studies of the body, sent or by reference, as far as they are known before it is executed.

        Raises BrokenJSON, ParameterRefused, StudyNotFound, and UnsupportedMedia for JSON that names no study.
        """
        words = recorded.parsed()
        if not recorded.is_json:
            with payload.incoming.reader() as file:
                return recorded.studies(file)
        resolver = self._service.resolver(submission.caller)
        if named_study(words, resolver) is not None or resolver is None:
            return set()
        if (order := resolver.order(words)) is not None:
            self._service.require_peer(order.peer, submission.caller)
            return set()
        return {instance.study_instance_uid for instance in resolver.held(words)}

    def _bound(self, changes: Changes, caller: str) -> None:
        """Forget the oldest ended runs of a caller above its bound. Raises TooManyRequests where all are live."""
        mine, connection = runs.c.caller == caller, changes.connection
        count = connection.execute(select(func.count()).select_from(runs).where(mine)).scalar_one()
        excess = count + 1 - self._settings.run_caller_max
        if excess <= 0:
            return
        ended = select(runs.c.key).where(mine, runs.c.state.not_in([*map(str, LIVE)]))
        keys: Sequence[str] = connection.execute(ended.order_by(runs.c.ended_at).limit(excess)).scalars().all()
        if len(keys) < excess:
            limit = f"run_caller_max, which is {self._settings.run_caller_max} here"
            raise TooManyRequests(f"The caller's live runs exceed {limit}.", retry_after=BUSY_SECONDS)
        run_rows.remove(connection, changes.blobs, keys)


def _same(row: Any, submission: Submission, recorded: RecordedBody) -> Run:
    """Return the run of a row. Raises RunGone, and RunConflict for another route or body."""
    if row.expired:
        raise RunGone("The run of this id has expired; submit this one under another id.")
    if (row.route, row.body_digest) != (submission.route, recorded.digest):
        raise RunConflict("The run of this id has another route or body; submit this one under another id.")
    return Run.of(row)


def _words(submission: Submission, recorded: RecordedBody, studies_known: bool) -> dict[str, Any]:
    words = {name: getattr(submission, name) for name in ("accept", "traceparent", "no_cache", "timeout", "door")}
    return words | {"body": recorded.words, "studies_known": studies_known}
