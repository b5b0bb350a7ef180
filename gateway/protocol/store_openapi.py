"""OpenAPI 3.1 of the study store's routes (docs/studies.md): one row for each operation."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import GatewayError
from gateway.protocol.problem_responses import EVERYWHERE, PROBLEM, responses

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
UID: Schema = {"type": "string", "pattern": "^[0-9.]{1,64}$"}
TIME: Schema = {"type": "string", "format": "date-time"}
FILE: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}
NEXT: Schema = {"type": ["string", "null"], "description": "The value of after for the next page; null on the last."}


def object_of(optional: str = "", /, **properties: Schema) -> Schema:
    """Return an object whose properties are required, but for those that ``optional`` names."""
    required = [name for name in properties if name not in optional.split()]
    return {"type": "object", "properties": properties, "required": required}


def list_of(items: Schema) -> Schema:
    """Return an array of ``items``."""
    return {"type": "array", "items": items}


UIDS = {"sop_instance_uid": UID, "series_instance_uid": UID, "study_instance_uid": UID}
INSTANCE = object_of(**UIDS, size=COUNT, sha256=SHA256)
ITEM = object_of("mtime", key=TEXT, sha256=SHA256, size=COUNT, mtime={"type": "number"})
REASONS = list_of(TEXT)
REFERENCE = object_of(
    "study series instances models",
    study=UID,
    series={"anyOf": [UID, list_of(UID)]},
    instances=list_of(SHA256),
    models=list_of(TEXT),
)


def _states(*states: str) -> Schema:
    """Return the state of each instance; ``existing`` is the digest of a stored file that differs."""
    state = {"enum": list(states)}
    return object_of(
        instances=list_of(object_of("existing", sop_instance_uid=UID, sha256=SHA256, state=state, existing=SHA256))
    )


def _parts(first: str, schema: Schema, media_type: str) -> Schema:
    """Return a multipart body: a JSON part, then files in the order of its entries."""
    content = {"schema": object_of("files", **{first: schema}, files=list_of(FILE))}
    content["encoding"] = {first: {"contentType": "application/json"}, "files": {"contentType": media_type}}
    return {"multipart/related": content}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


@dataclass(frozen=True)
class StoreOperation:
    """A method of a path: its input and its output, as OpenAPI's media types, and the errors of its own."""

    method: str
    path: str
    name: str
    summary: str
    answer: Schema = field(default_factory=dict)
    body: Schema = field(default_factory=dict)
    query: dict[str, Schema] = field(default_factory=dict)
    status: str = "200"
    tag: str = "store"
    headers: list[Schema] = field(default_factory=list)
    errors: tuple[type[GatewayError], ...] = ()

    def describe(self) -> Schema:
        """Return the Operation Object."""
        names = [part[1:-1] for part in self.path.split("/") if part.startswith("{")]
        inside = [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in names]
        asked = [{"name": name, "in": "query", "schema": schema} for name, schema in self.query.items()]
        body = {"requestBody": {"required": True, "content": self.body}} if self.body else {}
        answer = {"description": self.summary, **({"content": self.answer} if self.answer else {})}
        problems = responses((*EVERYWHERE, *self.errors)) if self.errors else {}
        refusal = {"description": "A problem: see its code.", "content": PROBLEM}
        return {
            "operationId": self.name,
            "tags": [self.tag],
            "summary": self.summary,
            "parameters": inside + asked + self.headers,
            **body,
            "responses": {self.status: answer, **problems, "default": refusal},
        }


PAGE: dict[str, Schema] = {"limit": {"type": "integer", "minimum": 1, "default": 100}, "after": TEXT}
SUMMARY = object_of(study_instance_uid=UID, series=COUNT, instances=COUNT, bytes=COUNT, stored=TIME, used=TIME)
STORED = object_of(sop_instance_uid=UID, sha256=SHA256, size=COUNT)
VERDICT = object_of(series_instance_uid=UID, accepted={"type": "boolean"}, reasons=REASONS)
RESULT = object_of(
    id=SHA256,
    model=TEXT,
    version=TEXT,
    created=TIME,
    input_digest=SHA256,
    output_digest=SHA256,
    model_digest=TEXT,
    weights_digest=TEXT,
    parameters_digest=TEXT,
    bytes=COUNT,
    studies=list_of(UID),
    series=list_of(UID),
    instances=COUNT,
)

STUDIES = (
    StoreOperation(
        "POST", "/studies/manifest", "compareManifest", "Which instances are missing.",
        _json(_states("present", "missing", "conflict")), _json(list_of(INSTANCE)),
    ),
    StoreOperation(
        "POST", "/studies/instances", "storeInstances", "Store a chunk of instances, as a whole or not at all.",
        _json(_states("stored", "kept", "replaced")),
        _parts("entries", object_of(instances=list_of(INSTANCE)), "application/dicom"),
        {"on_conflict": {"enum": ["fail", "keep", "replace"], "default": "fail"}},
    ),
    StoreOperation(
        "GET", "/studies", "listStudies", "Stored studies by UID.",
        _json(object_of(studies=list_of(SUMMARY), next=NEXT)), query=PAGE,
    ),
    StoreOperation(
        "GET", "/studies/{uid}", "readStudy", "Stored instances of one study.",
        _json(
            object_of(
                study_instance_uid=UID, series=list_of(object_of(series_instance_uid=UID, instances=list_of(STORED)))
            )
        ),
    ),
    StoreOperation(
        "DELETE", "/studies/{uid}", "deleteStudy", "Remove a study and its results.",
        _json(object_of(study_instance_uid=UID, instances=COUNT, bytes=COUNT, results=COUNT)),
        query={"callers": {"enum": ["mine", "all"], "default": "mine"}},
    ),
    StoreOperation(
        "POST", "/preflight", "preflight", "Which models accept a study, and why others do not.",
        _json(
            object_of(
                models=list_of(
                    object_of(model=TEXT, accepted={"type": "boolean"}, reasons=REASONS, series=list_of(VERDICT))
                )
            )
        ),
        _json(REFERENCE) | _parts("selection", object_of("models", models=list_of(TEXT)), "application/dicom"),
    ),
)  # fmt: skip

RESULTS = (
    StoreOperation(
        "GET", "/results", "listResults", "Stored results, the newest first.",
        _json(object_of(results=list_of(RESULT), next=NEXT)),
        query=dict.fromkeys(("study", "series", "model", "version"), TEXT) | {"since": TIME, "until": TIME} | PAGE,
    ),
    StoreOperation(
        "GET", "/results/{id}", "readResult", "A stored answer, byte for byte.",
        {"multipart/related": {"schema": {"type": "object"}}},
    ),
    StoreOperation("DELETE", "/results/{id}", "deleteResult", "Remove a stored answer.", status="204"),
)  # fmt: skip

BUNDLES = (
    StoreOperation(
        "GET", "/bundles", "listBundles", "Names and sizes of bundles.",
        _json(object_of(bundles=list_of(object_of(name=TEXT, files=COUNT, bytes=COUNT)))),
    ),
    StoreOperation(
        "GET", "/bundles/{name}", "readBundle", "Files of a bundle.", _json(object_of(name=TEXT, files=list_of(ITEM))),
    ),
    StoreOperation(
        "POST", "/bundles/{name}/manifest", "compareBundle", "Which files are missing, the same, or extra.",
        _json(object_of(missing=list_of(TEXT), same=list_of(TEXT), extra=list_of(ITEM))), _json(list_of(ITEM)),
    ),
    StoreOperation(
        "POST", "/bundles/{name}/files", "storeBundleFiles", "Store and remove files, as a whole or not at all.",
        _json(object_of(files=COUNT, bytes=COUNT, removed=COUNT)),
        _parts("entries", object_of("remove", files=list_of(ITEM), remove=list_of(TEXT)), "application/octet-stream"),
    ),
    StoreOperation(
        "GET", "/bundles/{name}/files/{sha256}", "readBundleFile", "The bytes of one file.",
        {"application/octet-stream": {"schema": FILE}},
    ),
    StoreOperation(
        "DELETE", "/bundles/{name}", "deleteBundle", "Remove a bundle.", _json(object_of(files=COUNT, bytes=COUNT)),
    ),
)  # fmt: skip


def paths_of(operations: Iterable[StoreOperation]) -> dict[str, Any]:
    """Return the Paths Object of operations."""
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = operation.describe()
    return paths


def store_paths() -> dict[str, Any]:
    """Return the Paths Object of the store."""
    return paths_of((*STUDIES, *RESULTS, *BUNDLES))
