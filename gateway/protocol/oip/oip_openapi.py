"""OpenAPI 3.1 of the Open Inference Protocol below ``/v2`` (docs/oip.md): one row for each operation."""

from typing import Any

from gateway.errors import ModelNotFound
from gateway.protocol.oip.infer_requests import HEADER
from gateway.protocol.problem_responses import BODY, MODEL
from gateway.protocol.run_openapi import RECEIPT, TIMEOUT
from gateway.protocol.store_openapi import COUNT, FILE, TEXT, Schema, StoreOperation, list_of, object_of, paths_of
from gateway.protocol.tensors import BYTES, DTYPES

DATATYPE: Schema = {"enum": [*DTYPES, BYTES]}
SHAPE = list_of({"type": "integer", "minimum": -1})
PARAMETERS: Schema = {"type": "object"}
SLOT = object_of("parameters", name=TEXT, datatype=DATATYPE, shape=SHAPE, parameters=PARAMETERS)
TENSOR = object_of(
    "parameters data",
    name=TEXT,
    datatype=DATATYPE,
    shape=list_of(COUNT),
    parameters=PARAMETERS,
    data={"type": "array"},
)
REQUEST = object_of(
    "id parameters inputs outputs",
    id=TEXT,
    parameters=PARAMETERS,
    inputs=list_of(TENSOR),
    outputs=list_of(object_of("parameters", name=TEXT, parameters=PARAMETERS)),
)
ANSWER = object_of(
    "id model_version",
    id=TEXT,
    model_name=TEXT,
    model_version=TEXT,
    parameters=PARAMETERS,
    outputs=list_of(TENSOR),
)
METADATA = object_of(
    name=TEXT,
    versions=list_of(TEXT),
    platform=TEXT,
    inputs=list_of(SLOT),
    outputs=list_of(SLOT),
    parameters=PARAMETERS,
)
KIND = object_of("optional", name=TEXT, data_type=TEXT, dims=SHAPE, optional={"type": "boolean"})
CONFIGURATION = object_of(
    name=TEXT, platform=TEXT, backend=TEXT, max_batch_size=COUNT, input=list_of(KIND), output=list_of(KIND)
)
READY: Schema = {"type": "boolean"}
HEADER_LENGTH: Schema = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Bytes of the JSON, where the bytes of tensors follow it.",
    "schema": COUNT,
}
STATE = object_of(name=TEXT, version=TEXT, state={"enum": ["READY", "UNAVAILABLE"]}, reason=TEXT)


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _with_bytes(schema: Schema) -> Schema:
    """JSON alone, or JSON and then bytes."""
    return _json(schema) | {"application/octet-stream": {"schema": FILE}}


def _operations() -> list[StoreOperation]:
    server = object_of(name=TEXT, version=TEXT, extensions=list_of(TEXT))
    return [
        StoreOperation("GET", "/v2", "oipServer", "The server and its extensions.", _json(server), tag="oip"),
        StoreOperation(
            "GET", "/v2/health/live", "oipLive", "Whether the server lives.", _json(object_of(live=READY)), tag="oip"
        ),
        StoreOperation(
            "GET", "/v2/health/ready", "oipReady", "Whether every model is ready; 503 where one is not.",
            _json(object_of(ready=READY)), tag="oip",
        ),
        StoreOperation(
            "POST", "/v2/repository/index", "oipIndex", "The models that the caller may use.",
            _json(list_of(STATE)), _json(object_of("ready", ready=READY)), tag="oip",
        ),
        *_of_model("", ""),
        *_of_model("/versions/{version}", "Version"),
    ]  # fmt: skip


def _of_model(path: str, suffix: str) -> list[StoreOperation]:
    root, missing = f"/v2/models/{{name}}{path}", (ModelNotFound,)
    readiness = _json(object_of(name=TEXT, ready=READY))
    return [
        StoreOperation(
            "GET", root, f"oipMetadata{suffix}", "The tensors and parameters of a model.", _json(METADATA),
            errors=missing, tag="oip",
        ),
        StoreOperation(
            "GET", f"{root}/config", f"oipConfiguration{suffix}", "The configuration of a model, in Triton's words.",
            _json(CONFIGURATION), errors=missing, tag="oip",
        ),
        StoreOperation(
            "GET", f"{root}/ready", f"oipModelReady{suffix}", "Whether a model is ready; 503 where it is not.",
            readiness, errors=missing, tag="oip",
        ),
        StoreOperation(
            "POST", f"{root}/infer", f"oipInfer{suffix}", "Infer on tensors.", _with_bytes(ANSWER),
            _with_bytes(REQUEST), errors=(*BODY, *MODEL, *missing), headers=[HEADER_LENGTH, TIMEOUT, RECEIPT],
            tag="oip",
        ),
    ]  # fmt: skip


def oip_paths() -> dict[str, Any]:
    """Return the Paths Object of the protocol."""
    return paths_of(_operations())
