"""OpenAPI 3.1 of the routes of runs (docs/runs.md): one row for each operation."""

from typing import Any

from gateway.errors import (
    BrokenBody,
    BrokenJSON,
    LimitExceeded,
    NotAcceptable,
    ParameterRefused,
    RequestStalled,
    RunConflict,
    RunEnded,
    RunGone,
    RunIdRefused,
    RunNotReady,
    RunNotWaiting,
    StorageFull,
)
from gateway.protocol.body_openapi import other_answers
from gateway.protocol.problem_responses import BODY, RESULT, SUBMISSION
from gateway.protocol.problem_responses import RUN as ID
from gateway.protocol.store_openapi import (
    COUNT,
    FILE,
    NEXT,
    PAGE,
    TEXT,
    TIME,
    Schema,
    StoreOperation,
    list_of,
    object_of,
    paths_of,
)

STATES = ("queued", "running", "waiting-input", "finished", "refused", "failed", "cancelled")
NUMBER: Schema = {"type": "number"}
SECONDS: Schema = {"type": "number", "minimum": 0, "maximum": 999_999}
ROUTE: Schema = {"type": "string", "description": "The route of a model, such as /tissue."}
STATE: Schema = {"enum": list(STATES)}
PROBLEM: Schema = {"$ref": "#/components/schemas/Problem"}
RUN_REFERENCE: Schema = {"$ref": "#/components/schemas/Run"}
KINDS = ("state", "progress", "log", "preview", "question", "partial")
EVENT: Schema = object_of(
    "", id=TEXT, event={"enum": list(KINDS)}, data=TEXT | {"contentMediaType": "application/json"}
)
EVENTS: Schema = {"text/event-stream": {"schema": EVENT}}
"""Each event of the stream."""
ANSWER: Schema = {"multipart/related": {"schema": {"type": "object"}}, **other_answers({"type": "object"})}
OUTPUT: Schema = {"enum": ["json", "dicom"], "description": "dicom makes DICOM objects of the findings in each form."}
"""The query of a stored answer."""
INPUT: Schema = {
    "multipart/related": {"schema": {"type": "object"}},
    "application/json": {"schema": {"type": "object"}},
}
"""The body of the model's route; that has its schema."""


def _header(name: str, description: str) -> Schema:
    return {"name": name, "in": "header", "schema": TEXT, "description": description}


PREFER = _header(
    "Prefer",
    "respond-async makes a run of the request (RFC 7240); wait=N waits N seconds for its answer first; "
    "receipt asks for the answer's receipt.",
)
RECEIPT = _header("Prefer", "receipt asks for the answer's receipt (RFC 7240).")
TIMEOUT = _header("X-Request-Timeout", "Seconds in which the model should answer.")
WEBHOOK = _header("Webhook", "A URL that is called at the end of the run; its origin has to be allowed.")
LAST_EVENT = _header("Last-Event-ID", "The number of the last event that the client knows, as after.")


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


RUN = object_of(
    "position progress question problem webhook",
    id=TEXT,
    route=TEXT,
    state=STATE,
    sequence=COUNT,
    created=TIME,
    started=_or_null(TIME),
    ended=_or_null(TIME),
    attempts=COUNT,
    status=_or_null(COUNT),
    reason=_or_null(TEXT),
    position=_or_null(COUNT),
    progress=_or_null(object_of(done=NUMBER, total=NUMBER, text=TEXT)),
    question=_or_null({"type": "object"}),
    problem=_or_null(PROBLEM),
    webhook=_or_null(object_of(state={"enum": ["pending", "delivered", "dead"]}, tries=COUNT, outcome=TEXT)),
    links=object_of("ohif", **dict.fromkeys(("self", "events", "result", "input", "ohif"), TEXT)),
)
ACCEPTED: Schema = {
    "description": "The run that the request has become.",
    "content": {"application/json": {"schema": RUN_REFERENCE}},
}
RUN_JSON: Schema = ACCEPTED["content"]

SUBMITTED: dict[str, Any] = {
    "answer": RUN_JSON,
    "body": INPUT,
    "query": {"route": ROUTE},
    "headers": [TIMEOUT, WEBHOOK],
    "status": "201",
    "tag": "runs",
}
"""What both ways to submit a run have."""
OPERATIONS = (
    StoreOperation(
        "POST", "/runs", "submitRun", "Make a run of a request for a model.",
        **SUBMITTED, errors=(*BODY, *SUBMISSION),
    ),
    StoreOperation(
        "GET", "/runs", "listRuns", "Runs of the caller, the newest first.",
        {"application/json": {"schema": object_of(runs=list_of(RUN_REFERENCE), next=NEXT)}},
        query={"state": STATE, "route": TEXT, "since": TIME} | PAGE, errors=(ParameterRefused,), tag="runs",
    ),
    StoreOperation(
        "PUT", "/runs/{id}", "putRun", "Make a run under an id of its own; the same request again is the same run.",
        **SUBMITTED, errors=(*BODY, *SUBMISSION, RunConflict, RunGone, RunIdRefused),
    ),
    StoreOperation(
        "GET", "/runs/{id}", "readRun", "A run as it is now, or once its state has changed.",
        RUN_JSON, query={"wait": SECONDS, "after": COUNT}, headers=[LAST_EVENT], errors=(*ID, ParameterRefused),
        tag="runs",
    ),
    StoreOperation(
        "GET", "/runs/{id}/events", "watchRun", "Events of a run as server-sent events, until it ends.",
        EVENTS, query={"after": COUNT}, headers=[LAST_EVENT], errors=(*ID, ParameterRefused), tag="runs",
    ),
    StoreOperation(
        "GET", "/runs/{id}/events/{number}", "readRunEvent", "The bytes of an event that has some, such as a preview.",
        {"*/*": {"schema": FILE}}, errors=ID, tag="runs",
    ),
    StoreOperation(
        "GET", "/runs/{id}/result", "readRunResult", "The answer of the model's route, or its problem.", ANSWER,
        query={"output": OUTPUT}, headers=[RECEIPT], tag="runs",
        errors=(*ID, *BODY, *RESULT, NotAcceptable, ParameterRefused, RunNotReady),
    ),
    StoreOperation(
        "POST", "/runs/{id}/input", "answerRun", "Answer the question that a run waits with.",
        RUN_JSON, {"application/json": {"schema": {"type": "object"}}}, {"question": COUNT}, status="202",
        errors=(*ID, BrokenBody, BrokenJSON, LimitExceeded, ParameterRefused, RequestStalled)
        + (RunNotWaiting, StorageFull), tag="runs",
    ),
    StoreOperation(
        "DELETE", "/runs/{id}", "deleteRun", "Cancel a live run (202), or forget one that has ended.",
        query={"only": {"enum": ["live", "ended"], "description": "The other is then a 409."}},
        errors=(*ID, ParameterRefused, RunEnded, RunNotReady), status="204", tag="runs",
    ),
)  # fmt: skip


def run_paths() -> dict[str, Any]:
    """Return the Paths Object of runs."""
    paths = paths_of(OPERATIONS)
    for method in ("put", "delete"):
        paths["/runs/{id}"][method]["responses"]["200" if method == "put" else "202"] = ACCEPTED
    paths["/runs/{id}/events"]["get"]["responses"]["204"] = {"description": "The client knows the end of the run."}
    return paths
