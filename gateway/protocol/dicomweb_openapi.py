"""OpenAPI 3.1 of DICOMweb below ``/dicomweb`` (PS3.18; docs/dicomweb.md): its paths and their media types."""

from typing import Any

from gateway.errors import (
    BrokenBody,
    LimitExceeded,
    NotAcceptable,
    QueryRefused,
    RequestStalled,
    StorageFull,
    StudyNotFound,
    UnsupportedMedia,
)
from gateway.protocol.store_openapi import Schema, StoreOperation, list_of, paths_of

PREFIX = "/dicomweb"
STUDY, SERIES = "/studies/{study}", "/studies/{study}/series/{series}"
INSTANCE = f"{SERIES}/instances/{{sop}}"
JSON_MODEL = "application/dicom+json"
FILES = ("multipart/related", "application/dicom")
FRAMES = ("multipart/related", "application/octet-stream", "image/jpeg", "image/jp2", "image/jls")
PICTURES = ("image/jpeg", "image/png", "multipart/related")
METADATA = (JSON_MODEL, "application/json", "multipart/related")
READ = StudyNotFound, NotAcceptable

SEARCHES = {
    "Studies": "/studies",
    "Series": "/series",
    "Instances": "/instances",
    "SeriesOfStudy": f"{STUDY}/series",
    "InstancesOfStudy": f"{STUDY}/instances",
    "InstancesOfSeries": f"{SERIES}/instances",
}
RETRIEVALS = {
    "Study": (STUDY, FILES),
    "Series": (SERIES, FILES),
    "Instance": (INSTANCE, FILES),
    "StudyMetadata": (f"{STUDY}/metadata", METADATA),
    "SeriesMetadata": (f"{SERIES}/metadata", METADATA),
    "InstanceMetadata": (f"{INSTANCE}/metadata", METADATA),
    "Frames": (f"{INSTANCE}/frames/{{numbers}}", FRAMES),
    "BulkData": (f"{INSTANCE}/bulkdata/{{place}}", ("multipart/related", "application/octet-stream")),
    "RenderedStudy": (f"{STUDY}/rendered", PICTURES),
    "RenderedSeries": (f"{SERIES}/rendered", PICTURES),
    "RenderedInstance": (f"{INSTANCE}/rendered", PICTURES),
    "RenderedFrames": (f"{INSTANCE}/frames/{{numbers}}/rendered", PICTURES),
}
PARTLY = {"202": "Some instances are stored; the others have a reason.", "409": "None is stored, each for a reason."}
BINARY: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}
DATASET: Schema = {"type": "object", "description": "A data set of the DICOM JSON Model (PS3.18 F.2)."}


def dicomweb_paths() -> dict[str, Any]:
    """Return the Paths Object of DICOMweb."""
    paths = paths_of((*_searches(), *_retrievals(), *_stores(), _deletion()))
    for path in SEARCHES.values():
        paths[PREFIX + path]["get"]["responses"]["204"] = {"description": "Nothing matches."}
    for path in ("/studies", STUDY):
        responses = paths[PREFIX + path]["post"]["responses"]
        responses |= {status: {"description": text, "content": _content(DATASET)} for status, text in PARTLY.items()}
    return paths


def _content(schema: Schema, *media_types: str) -> Schema:
    return {media_type: {"schema": schema} for media_type in media_types or (JSON_MODEL,)}


def _searches() -> list[StoreOperation]:
    errors, found = (QueryRefused, NotAcceptable), _content(list_of(DATASET), *METADATA[:2])
    query: dict[str, Schema] = {
        "limit": {"type": "integer", "minimum": 0},
        "offset": {"type": "integer", "minimum": 0},
        "includefield": {"type": "string"},
        "fuzzymatching": {"enum": ["true", "false"]},
    }
    summary = "Search (QIDO-RS); attributes are parameters too."
    return [_operation(path, f"search{name}", summary, found, errors, query) for name, path in SEARCHES.items()]


def _retrievals() -> list[StoreOperation]:
    return [
        _operation(path, f"retrieve{name}", "Retrieve (WADO-RS).", _content(BINARY, *media_types), READ)
        for name, (path, media_types) in RETRIEVALS.items()
    ]


def _stores() -> list[StoreOperation]:
    errors = (BrokenBody, LimitExceeded, RequestStalled, UnsupportedMedia, StorageFull, StudyNotFound)
    body = _content({"type": "array", "items": BINARY}, "multipart/related")
    return [
        StoreOperation(
            "POST", PREFIX + path, f"stow{name}", "Store instances (STOW-RS).", _content(DATASET), body,
            errors=errors, tag="dicomweb",
        )
        for name, path in (("Instances", "/studies"), ("InstancesOfStudy", STUDY))
    ]  # fmt: skip


def _deletion() -> StoreOperation:
    return StoreOperation(
        "DELETE", PREFIX + STUDY, "deleteDicomwebStudy", "Delete a study.", errors=(StudyNotFound,), status="204",
        tag="dicomweb",
    )  # fmt: skip


def _operation(
    path: str, name: str, summary: str, answer: Schema, errors: Any, query: dict[str, Schema] | None = None
) -> StoreOperation:
    return StoreOperation("GET", PREFIX + path, name, summary, answer, query=query or {}, errors=errors, tag="dicomweb")
