"""OpenAPI 3.1 of the study store's routes (docs/studies.md): one row for each operation."""

from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
UID: Schema = {"type": "string", "pattern": "^[0-9.]{1,64}$"}
TIME: Schema = {"type": "string", "format": "date-time"}
FILE: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}
NEXT: Schema = {"type": ["string", "null"], "description": "The value of after for the next page; null on the last."}


def _object(optional: str = "", /, **properties: Schema) -> Schema:
    """Return an object whose properties are required, but for those that ``optional`` names."""
    required = [name for name in properties if name not in optional.split()]
    return {"type": "object", "properties": properties, "required": required}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


UIDS = {"sop_instance_uid": UID, "series_instance_uid": UID, "study_instance_uid": UID}
INSTANCE = _object(**UIDS, size=COUNT, sha256=SHA256)
ITEM = _object("mtime", key=TEXT, sha256=SHA256, size=COUNT, mtime={"type": "number"})
REASONS = _list(TEXT)
REFERENCE = _object(
    "study series instances models",
    study=UID,
    series={"anyOf": [UID, _list(UID)]},
    instances=_list(SHA256),
    models=_list(TEXT),
)


def _states(*states: str) -> Schema:
    """Return the state of each instance; ``existing`` is the digest of a stored file that differs."""
    state = {"enum": list(states)}
    return _object(
        instances=_list(_object("existing", sop_instance_uid=UID, sha256=SHA256, state=state, existing=SHA256))
    )


def _parts(first: str, schema: Schema, media_type: str) -> Schema:
    """Return a multipart body: a JSON part, then files in the order of its entries."""
    content = {"schema": _object("files", **{first: schema}, files=_list(FILE))}
    content["encoding"] = {first: {"contentType": "application/json"}, "files": {"contentType": media_type}}
    return {"multipart/related": content}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


@dataclass(frozen=True)
class StoreOperation:
    """A method of a path: its input and its output, as OpenAPI's media types."""

    method: str
    path: str
    name: str
    summary: str
    answer: Schema = field(default_factory=dict)
    body: Schema = field(default_factory=dict)
    query: dict[str, Schema] = field(default_factory=dict)
    status: str = "200"

    def describe(self) -> Schema:
        """Return the Operation Object."""
        names = [part[1:-1] for part in self.path.split("/") if part.startswith("{")]
        inside = [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in names]
        asked = [{"name": name, "in": "query", "schema": schema} for name, schema in self.query.items()]
        body = {"requestBody": {"required": True, "content": self.body}} if self.body else {}
        answer = {"description": self.summary, **({"content": self.answer} if self.answer else {})}
        refusal = {"description": "A problem: see its code.", "content": PROBLEM}
        return {
            "operationId": self.name,
            "tags": ["store"],
            "summary": self.summary,
            "parameters": inside + asked,
            **body,
            "responses": {self.status: answer, "default": refusal},
        }


PAGE: dict[str, Schema] = {"limit": {"type": "integer", "minimum": 1, "default": 100}, "after": TEXT}
SUMMARY = _object(study_instance_uid=UID, series=COUNT, instances=COUNT, bytes=COUNT, stored=TIME, used=TIME)
STORED = _object(sop_instance_uid=UID, sha256=SHA256, size=COUNT)
VERDICT = _object(series_instance_uid=UID, accepted={"type": "boolean"}, reasons=REASONS)
RESULT = _object(
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
    studies=_list(UID),
    series=_list(UID),
    instances=COUNT,
)

STUDIES = (
    StoreOperation(
        "POST", "/studies/manifest", "compareManifest", "Which instances are missing.",
        _json(_states("present", "missing", "conflict")), _json(_list(INSTANCE)),
    ),
    StoreOperation(
        "POST", "/studies/instances", "storeInstances", "Store a chunk of instances, as a whole or not at all.",
        _json(_states("stored", "kept", "replaced")),
        _parts("entries", _object(instances=_list(INSTANCE)), "application/dicom"),
        {"on_conflict": {"enum": ["fail", "keep", "replace"], "default": "fail"}},
    ),
    StoreOperation(
        "GET", "/studies", "listStudies", "Stored studies by UID.",
        _json(_object(studies=_list(SUMMARY), next=NEXT)), query=PAGE,
    ),
    StoreOperation(
        "GET", "/studies/{uid}", "readStudy", "Stored instances of one study.",
        _json(_object(study_instance_uid=UID, series=_list(_object(series_instance_uid=UID, instances=_list(STORED))))),
    ),
    StoreOperation(
        "DELETE", "/studies/{uid}", "deleteStudy", "Remove a study and its results.",
        _json(_object(study_instance_uid=UID, instances=COUNT, bytes=COUNT, results=COUNT)),
        query={"callers": {"enum": ["mine", "all"], "default": "mine"}},
    ),
    StoreOperation(
        "POST", "/preflight", "preflight", "Which models accept a study, and why others do not.",
        _json(
            _object(
                models=_list(
                    _object(model=TEXT, accepted={"type": "boolean"}, reasons=REASONS, series=_list(VERDICT))
                )
            )
        ),
        _json(REFERENCE) | _parts("selection", _object("models", models=_list(TEXT)), "application/dicom"),
    ),
)  # fmt: skip

RESULTS = (
    StoreOperation(
        "GET", "/results", "listResults", "Stored results, the newest first.",
        _json(_object(results=_list(RESULT), next=NEXT)),
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
        _json(_object(bundles=_list(_object(name=TEXT, files=COUNT, bytes=COUNT)))),
    ),
    StoreOperation(
        "GET", "/bundles/{name}", "readBundle", "Files of a bundle.", _json(_object(name=TEXT, files=_list(ITEM))),
    ),
    StoreOperation(
        "POST", "/bundles/{name}/manifest", "compareBundle", "Which files are missing, the same, or extra.",
        _json(_object(missing=_list(TEXT), same=_list(TEXT), extra=_list(ITEM))), _json(_list(ITEM)),
    ),
    StoreOperation(
        "POST", "/bundles/{name}/files", "storeBundleFiles", "Store and remove files, as a whole or not at all.",
        _json(_object(files=COUNT, bytes=COUNT, removed=COUNT)),
        _parts("entries", _object("remove", files=_list(ITEM), remove=_list(TEXT)), "application/octet-stream"),
    ),
    StoreOperation(
        "GET", "/bundles/{name}/files/{sha256}", "readBundleFile", "The bytes of one file.",
        {"application/octet-stream": {"schema": FILE}},
    ),
    StoreOperation(
        "DELETE", "/bundles/{name}", "deleteBundle", "Remove a bundle.", _json(_object(files=COUNT, bytes=COUNT)),
    ),
)  # fmt: skip


def store_paths() -> dict[str, Any]:
    """Return the Paths Object of the store."""
    paths: dict[str, Any] = {}
    for operation in (*STUDIES, *RESULTS, *BUNDLES):
        paths.setdefault(operation.path, {})[operation.method.lower()] = operation.describe()
    return paths
