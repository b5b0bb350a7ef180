"""OpenAPI 3.1 of nnInteractive's remote sessions below ``/nninteractive`` (docs/nninteractive.md)."""

from typing import Any

from gateway.errors import LeaseExpired, LimitExceeded, ParameterRefused, SessionConflict, UnsupportedMedia
from gateway.protocol.problem_responses import BODY, MODEL
from gateway.protocol.run_openapi import NUMBER
from gateway.protocol.session_openapi import INPUT_ERRORS
from gateway.protocol.store_openapi import COUNT, FILE, TEXT, Schema, StoreOperation, list_of, object_of, paths_of

PREFIX = "/nninteractive"
FLAG: Schema = {"type": "boolean"}
LEASE: Schema = {"name": "X-Lease-Token", "in": "header", "required": True, "schema": TEXT}
META: Schema = {"name": "X-Meta", "in": "header", "schema": TEXT, "description": "JSON beside the array."}
PACKED: Schema = {"application/octet-stream": {"schema": FILE}}
"""An array as the client packs it; of an answer the values in the box that its X-Meta has, or nothing."""
PREDICTION_ERRORS = (LeaseExpired, SessionConflict, *INPUT_ERRORS, *MODEL)


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _operation(method: str, path: str, name: str, summary: str, **others: Any) -> StoreOperation:
    options = {"errors": (LeaseExpired,), "headers": [LEASE]} | others
    return StoreOperation(method, f"{PREFIX}{path}", f"nnInteractive{name}", summary, tag="nninteractive", **options)


def _prompt(path: str, name: str, what: str, **members: Schema) -> StoreOperation:
    """A prompt in JSON, or beside a mask where it has no members of its own."""
    schema = object_of("run_prediction", include_interaction=FLAG, run_prediction=FLAG | {"default": True}, **members)
    body = _json(schema) if members else PACKED
    headers = [LEASE] if members else [LEASE, META]
    return _operation(
        "POST", path, name, f"{what}; what that changes.",
        answer=PACKED, body=body, headers=headers, errors=PREDICTION_ERRORS,
    )  # fmt: skip


SECONDS = {"remaining_seconds": NUMBER}
CLAIMED = object_of(lease_token=TEXT, idle_timeout_seconds=NUMBER, liveness_timeout_seconds=NUMBER, max_sessions=COUNT)
DONE = _json({"type": "object"})

OPERATIONS = (
    _operation("GET", "/healthz", "Health", "The gateway answers.", answer=DONE, headers=[], errors=()),
    _operation("GET", "/capabilities", "Capabilities", "What may be prompted.", answer=DONE, headers=[], errors=()),
    _operation("POST", "/claim", "Claim", "Grant a lease.", answer=_json(CLAIMED), headers=[], errors=()),
    _operation("POST", "/release", "Release", "End a lease, if there is one.", answer=DONE, errors=()),
    _operation("POST", "/heartbeat", "Heartbeat", "Be alive.", answer=_json(object_of(**SECONDS))),
    _operation(
        "GET", "/lease_status", "LeaseStatus", "The time that is left to a lease.",
        answer=_json(object_of(**SECONDS, idle_timeout_seconds=NUMBER)),
    ),
    _operation(
        "POST", "/set_image", "SetImage", "Begin with an image: a packed array of (1, slice, row, column).",
        answer=_json(object_of(original_image_shape=list_of(COUNT))), body=PACKED, headers=[LEASE, META],
        errors=(LeaseExpired, SessionConflict, *BODY, *MODEL),
    ),
    _operation(
        "POST", "/set_target_buffer", "SetTargetBuffer", "Describe the client's own buffer, which is all zeros.",
        answer=DONE, body=_json(object_of(shape=list_of(COUNT), dtype=TEXT)),
        errors=(LeaseExpired, SessionConflict, *INPUT_ERRORS),
    ),
    _operation(
        "POST", "/set_do_autozoom", "SetDoAutozoom", "Taken, and without effect.",
        answer=DONE, body=_json(object_of(do_autozoom=FLAG)), errors=(LeaseExpired, *INPUT_ERRORS),
    ),
    _operation(
        "POST", "/reset_interactions", "ResetInteractions", "Take back all prompts.",
        answer=DONE, errors=(LeaseExpired, SessionConflict, *MODEL),
    ),
    _operation("POST", "/undo", "Undo", "Take back a prompt.", answer=PACKED, errors=PREDICTION_ERRORS),
    _operation("POST", "/predict", "Predict", "Run what is queued.", answer=PACKED, errors=PREDICTION_ERRORS),
    _prompt("/add_point_interaction", "AddPoint", "A point", coordinates=list_of(NUMBER)),
    _prompt("/add_bbox_interaction", "AddBox", "A box", bbox_coords=list_of(list_of(NUMBER))),
    _prompt("/add_scribble_interaction", "AddScribble", "A scribble, as points along it"),
    _prompt("/add_lasso_interaction", "AddLasso", "A lasso, as points in it and the box around it"),
    _operation(
        "POST", "/add_initial_seg_interaction", "AddInitialSeg", "Refused: the model begins with clicks.",
        body=PACKED, headers=[LEASE, META], errors=(LeaseExpired, ParameterRefused, LimitExceeded, UnsupportedMedia),
    ),
)  # fmt: skip


def nninteractive_paths() -> dict[str, Any]:
    """Return the Paths Object of the protocol."""
    return paths_of(OPERATIONS)
