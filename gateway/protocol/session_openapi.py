"""OpenAPI 3.1 of the routes of sessions (docs/sessions.md): one row for each operation."""

from typing import Any

from gateway.errors import (
    BrokenBody,
    BrokenJSON,
    LimitExceeded,
    NotAcceptable,
    ParameterRefused,
    PathForbidden,
    RequestStalled,
    SessionConflict,
    SessionGone,
    StudyNotFound,
    UnsupportedMedia,
)
from gateway.protocol.problem_responses import BODY, MODEL
from gateway.protocol.run_openapi import ANSWER, INPUT, NUMBER, OUTPUT, PROBLEM, ROUTE, TIMEOUT
from gateway.protocol.store_openapi import COUNT, TEXT, Schema, StoreOperation, list_of, object_of, paths_of

STATES = ("working", "waiting", "finished", "failed")
VOXEL: Schema = {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 3}
POINT: Schema = {"type": "array", "items": NUMBER, "minItems": 3, "maxItems": 3}
SIGN: Schema = {"type": "boolean", "default": True}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


REGION = object_of(
    since=COUNT,
    sequence=COUNT,
    shape=VOXEL,
    box=_or_null({"type": "array", "items": VOXEL, "minItems": 2, "maxItems": 2}),
    voxels=COUNT,
    encoding={"enum": ["values", "runs"]},
    data=TEXT | {"contentEncoding": "base64"},
)
"""What has changed of a region."""
SESSION = object_of(
    "region",
    id=TEXT,
    route=TEXT,
    state={"enum": list(STATES)},
    sequence=COUNT,
    points=COUNT,
    boxes=COUNT,
    question=_or_null({"type": "object"}),
    progress=_or_null(object_of(done=NUMBER, total=NUMBER, text=TEXT)),
    problem=_or_null(PROBLEM),
    region=_or_null(REGION),
    links=object_of(**dict.fromkeys(("self", "input", "region", "finish"), TEXT)),
)
CLICK_INPUT = object_of(
    "points boxes undo reset answer after",
    points=list_of(object_of("positive", at=POINT, positive=SIGN)),
    boxes=list_of(object_of("positive", box={"type": "array", "items": POINT}, positive=SIGN)),
    undo=COUNT,
    reset={"const": True},
    answer={"description": "The answer to a question of another kind than clicks."},
    after=COUNT,
)
"""An input: points and boxes, an undo, a reset, or an answer."""
SESSION_JSON: Schema = {"application/json": {"schema": {"$ref": "#/components/schemas/Session"}}}

INPUT_ERRORS = BrokenBody, BrokenJSON, LimitExceeded, RequestStalled, UnsupportedMedia, ParameterRefused

OPERATIONS = (
    StoreOperation(
        "POST", "/sessions", "openSession", "Open a session on a request for an interactive model.",
        SESSION_JSON, INPUT, {"route": ROUTE}, "201", tag="sessions", headers=[TIMEOUT],
        errors=(*BODY, *MODEL, PathForbidden, StudyNotFound),
    ),
    StoreOperation(
        "GET", "/sessions/{id}", "readSession", "A session as it is now.", SESSION_JSON, errors=(SessionGone,),
        tag="sessions",
    ),
    StoreOperation(
        "GET", "/sessions/{id}/region", "readRegion", "What has changed of the region since a number, or all of it.",
        {"application/json": {"schema": object_of(region=_or_null(REGION))}}, query={"since": COUNT},
        errors=(SessionGone, ParameterRefused), tag="sessions",
    ),
    StoreOperation(
        "POST", "/sessions/{id}/input", "clickSession", "Click, undo, reset or answer; what has changed of the region.",
        SESSION_JSON, {"application/json": {"schema": CLICK_INPUT}},
        errors=(SessionGone, SessionConflict, *INPUT_ERRORS, *MODEL), tag="sessions",
    ),
    StoreOperation(
        "POST", "/sessions/{id}/finish", "finishSession", "Accept the region: the answer of the model's route.",
        ANSWER, query={"output": OUTPUT}, tag="sessions",
        errors=(SessionGone, SessionConflict, NotAcceptable, ParameterRefused, *MODEL),
    ),
    StoreOperation(
        "DELETE", "/sessions/{id}", "endSession", "End a session.", status="204", errors=(SessionGone,), tag="sessions",
    ),
)  # fmt: skip


def session_paths() -> dict[str, Any]:
    """Return the Paths Object of sessions."""
    return paths_of(OPERATIONS)
