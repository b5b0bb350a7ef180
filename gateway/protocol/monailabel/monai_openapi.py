"""OpenAPI 3.1 of MONAI Label's API below ``/monai`` (docs/monailabel.md): one row for each operation."""

from typing import Any

from gateway.errors import (
    GatewayError,
    LimitExceeded,
    ModelNotFound,
    NotAcceptable,
    NotOffered,
    ParameterRefused,
    SessionGone,
    StudyNotFound,
    StudyRefused,
)
from gateway.protocol.monailabel.label_answers import LabelOutput
from gateway.protocol.problem_responses import BODY, MODEL
from gateway.protocol.run_openapi import RECEIPT, TIMEOUT
from gateway.protocol.store_openapi import COUNT, FILE, TEXT, UID, Schema, StoreOperation, list_of, object_of, paths_of

OBJECT: Schema = {"type": "object"}
ANYTHING: Schema = {}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _form(optional: str = "", /, **fields: Schema) -> Schema:
    return {"multipart/form-data": {"schema": object_of(optional, **fields)}}


ANSWER = object_of(
    label_names={"type": "object", "additionalProperties": COUNT},
    model=TEXT,
    version=TEXT,
    answer=OBJECT,
)
"""``params`` of an answer: the values of the regions by their names, and the answer but for its masks."""
POINT: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
PARAMS = object_of(
    "foreground background result_extension result_dtype result_compress",
    foreground=list_of(POINT),
    background=list_of(POINT),
    result_extension=TEXT,
    result_dtype={"const": "uint8"},
    result_compress={"type": "boolean"},
)
"""``params`` of a request, beside the parameters of the model."""
INFERRED = {
    **_form("image", params=ANSWER, image=FILE),
    **_json(ANSWER),
    "application/octet-stream": {"schema": FILE},
    "application/dicom": {"schema": FILE},
}
MODEL_WORDS = object_of(type=TEXT, labels=list_of(TEXT), dimension=COUNT, description=TEXT, config=OBJECT)
STATUS = object_of(total=COUNT, completed=COUNT, label_tags=OBJECT, label_names=OBJECT)
INFO = object_of(
    name=TEXT,
    description=TEXT,
    version=TEXT,
    labels=list_of(TEXT),
    models={"type": "object", "additionalProperties": MODEL_WORDS},
    trainers=OBJECT,
    strategies=OBJECT,
    scoring=OBJECT,
    train_stats=OBJECT,
    datastore=STATUS,
)
IMAGE_INFO = object_of(ts=COUNT, name=TEXT, StudyInstanceUID=UID, SeriesInstanceUID=UID)
DATASTORE = object_of(name=TEXT, description=TEXT, objects=OBJECT)
IMAGE_SESSION = object_of(
    name=TEXT, path=TEXT, image=TEXT, meta=OBJECT, create_ts=COUNT, last_access_ts=COUNT, expiry=COUNT
)
LOGIN = object_of(username=TEXT, password=TEXT)
TOKEN = object_of(access_token={"type": ["string", "null"]}, token_type={"type": ["string", "null"]})
CALLER = object_of(username=TEXT, email={"type": "null"}, name={"type": "null"}, roles=list_of(TEXT))


def _operation(method: str, path: str, name: str, summary: str, answer: Schema, **members: Any) -> StoreOperation:
    return StoreOperation(method, f"/monai{path}", f"monai{name}", summary, answer, tag="monailabel", **members)


def _absent(method: str, path: str, name: str) -> StoreOperation:
    errors: tuple[type[GatewayError], ...] = (NotOffered,)
    return _operation(method, path, name, "Not offered: 501.", _json(ANYTHING), errors=errors)


OPERATIONS = (
    _operation("GET", "/info/", "Info", "The models that the caller may use.", _json(INFO)),
    _operation("GET", "/logs/", "Logs", "Where the logs are; states of the models.", {"text/plain": {"schema": TEXT}}),
    _operation(
        "POST", "/infer/{name}", "Infer", "Infer on a file, a session's image or a stored series.", INFERRED,
        body=_form("params file", params=PARAMS, file=FILE), query={
            "image": TEXT, "session_id": TEXT, "output": {"enum": list(LabelOutput)},
        },
        headers=[TIMEOUT, RECEIPT],
        errors=(*BODY, *MODEL, ModelNotFound, SessionGone, StudyNotFound, NotAcceptable, NotOffered),
    ),
    _operation(
        "PUT", "/session/", "OpenSession", "Send an image once, for the inferences that name the session.",
        _json(object_of(session_id=TEXT, session_info=IMAGE_SESSION)), body=_form(files=list_of(FILE)),
        query={"expiry": COUNT, "uncompress": {"type": "boolean"}}, headers=[TIMEOUT], errors=(*BODY, NotOffered),
    ),
    _operation("GET", "/session/{id}", "ReadSession", "A session.", _json(IMAGE_SESSION), errors=(SessionGone,)),
    _operation("DELETE", "/session/{id}", "EndSession", "End a session.", _json(IMAGE_SESSION), errors=(SessionGone,)),
    _operation(
        "GET", "/datastore/", "Datastore", "The caller's stored series, or their number.",
        _json({"anyOf": [STATUS, DATASTORE, list_of(OBJECT)]}), query={"output": {"enum": ["stats", "all", "train"]}},
        errors=(ParameterRefused,),
    ),
    _operation(
        "GET", "/datastore/image", "Image", "A stored series as NIfTI.", {"application/gzip": {"schema": FILE}},
        query={"image": UID}, errors=(StudyNotFound, StudyRefused, LimitExceeded),
    ),
    _operation(
        "GET", "/datastore/image/info", "ImageInfo", "What is known of a stored series.", _json(IMAGE_INFO),
        query={"image": UID}, errors=(StudyNotFound,),
    ),
    _operation("GET", "/auth/", "Auth", "Whether callers need a key or a token.", _json(OBJECT)),
    _operation(
        "POST", "/auth/token", "Login", "A caller's key or token, where name and password are right.", _json(TOKEN),
        body={"application/x-www-form-urlencoded": {"schema": LOGIN}},
    ),
    _operation("GET", "/auth/token/valid", "ValidToken", "The caller of this request.", _json(CALLER)),
    _absent("POST", "/train/{name}", "Train"),
    _absent("POST", "/activelearning/{name}", "NextSample"),
    _absent("PUT", "/datastore/label", "SaveLabel"),
)  # fmt: skip


def monai_paths() -> dict[str, Any]:
    """Return the Paths Object of the protocol."""
    return paths_of(OPERATIONS)
