"""The OpenAPI 3.1 document of a service, made from the models themselves, so that it cannot fall behind."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from gateway import __version__
from gateway.config import Settings
from gateway.contract.execution import Execution
from gateway.contract.model import Model
from gateway.protocol.annotations import AnswerJSON
from gateway.protocol.body_openapi import BODIES, other_answers, other_bodies, query
from gateway.protocol.dapr_openapi import dapr_paths
from gateway.protocol.dicomweb_openapi import dicomweb_paths
from gateway.protocol.kinds import KINDS
from gateway.protocol.monailabel.monai_openapi import monai_paths
from gateway.protocol.nninteractive.nninteractive_openapi import nninteractive_paths
from gateway.protocol.oip.oip_openapi import oip_paths
from gateway.protocol.problem_responses import of_inference
from gateway.protocol.run_openapi import ACCEPTED, PREFER, RECEIPT, RUN, TIMEOUT, WEBHOOK, run_paths
from gateway.protocol.session_openapi import SESSION, session_paths
from gateway.protocol.store_openapi import store_paths

REFERENCE = "#/components/schemas/{model}"
ORDER = (
    "The body is multipart/related (RFC 2387). OpenAPI cannot say it: the parts have no names and their order counts. "
    "First one JSON object, then attachments, then the DICOM files, each as one binary part. "
    "The answer is multipart/related too: json-body, elem_0 and so on (one for each entry of parts), and hashes, "
    "which is the digest of what came in, a colon, and the digest of what goes out."
)


def openapi(models: Mapping[str, Model], settings: Settings) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a service; ``models`` by route."""
    components = {"Answer": _answer(), "Problem": _problem(), **_definitions(TypeAdapter(AnswerJSON))}
    stored = store_paths() | run_paths() if settings.store_folder else {}
    components |= {"Run": RUN} if stored else {}
    stored |= dicomweb_paths() if stored and settings.dicomweb else {}
    clicked = settings.sessions and any(model.interactive for model in models.values())
    components |= {"Session": SESSION} if clicked else {}
    stored |= session_paths() if clicked else {}
    stored |= oip_paths() if settings.oip else {}
    stored |= nninteractive_paths() if settings.nninteractive else {}
    stored |= dapr_paths() if settings.dapr_app_id else {}
    stored |= monai_paths() if settings.monai else {}
    paths: dict[str, Any] = {}
    for route, model in models.items():
        parameters = model.parameters_schema(REFERENCE)
        definitions = parameters.pop("$defs", {})
        name = _name(route)
        components |= {f"{name}Request": parameters, **definitions}
        paths[route] = {"post": _operation(route, name, model, settings)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Inference gateway", "version": __version__, "description": ORDER},
        "paths": paths | stored | dict(_probes()),
        "components": {"schemas": components},
    }


_TEXT_PROBES = {
    "/ping": "Report that the process is up.",
    "/healthcheck": "Report the state of the server: READY, or another word while models are not ready.",
    "/livez": "Report that the process answers.",
}
_HEALTH_PROBES = {
    "/startupz": "Report whether every model has been ready.",
    "/readyz": "Report whether the server accepts requests.",
}


def _name(route: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in route).split()
    return "".join(word.capitalize() for word in words) or "Root"


def _operation(route: str, name: str, model: Model, settings: Settings) -> dict[str, Any]:
    description, asynchronous = model.describe(), settings.store_folder is not None and model.durable
    content = {"multipart/related": _multipart(name), **other_bodies(_ref(f"{name}Request"))}
    problems = of_inference(model, settings, asynchronous=asynchronous)
    if settings.study_root is not None:
        content["application/json"] = {"schema": {"allOf": [_ref(f"{name}Request"), _STUDY_PATH]}}
    answered = _answered()
    if model.takes_any_file:
        content["*/*"] = answered["content"]["*/*"] = {}
    words = [description.text, *description.sentences, model.execution.device_sentence, ORDER, BODIES]
    return {
        "operationId": f"infer{name}",
        "tags": ["models"],
        "summary": description.text.partition("\n")[0] or f"Infer on {route}",
        "description": "\n\n".join(filter(None, words)),
        "requestBody": {"required": True, "content": content},
        "responses": {"200": answered, **({"202": ACCEPTED} if asynchronous else {}), **problems},
        "parameters": [TIMEOUT, query(_ref(f"{name}Request")), *([PREFER, WEBHOOK] if asynchronous else [RECEIPT])],
        **({"x-interactive": True} if model.interactive else {}),
        **({"x-devices": _devices(model.execution)} if model.execution.uses_devices else {}),
    }


def _devices(execution: Execution) -> dict[str, Any]:
    """What one process of the model takes: of which devices, and bytes of its memory."""
    return {"devices": execution.device_names or ["auto"], "memory": execution.device_bytes}


_STUDY_PATH = {
    "type": "object",
    "properties": {"studyPath": {"type": "string", "description": "A folder below the study root of the gateway."}},
    "required": ["studyPath"],
}


def _multipart(name: str) -> dict[str, Any]:
    files = {"type": "array", "items": {"type": "string", "contentMediaType": "application/dicom"}}
    schema = {"type": "object", "properties": {"json": _ref(f"{name}Request"), "files": files}, "required": ["json"]}
    encoding = {"json": {"contentType": "application/json"}, "files": {"contentType": "application/dicom"}}
    return {"schema": schema, "encoding": encoding}


def _answered() -> dict[str, Any]:
    hashes = {"type": "string", "pattern": "^[0-9a-f]{64}:[0-9a-f]{64}$"}
    elements = {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}}
    properties = {"json-body": _ref("Answer"), "elem": elements, "hashes": hashes}
    schema = {"type": "object", "properties": properties, "required": ["json-body", "hashes"]}
    media_types = sorted({kind.media_type for kind in KINDS.values()})
    encoding = {
        "json-body": {"contentType": "application/json"},
        "elem": {"contentType": ", ".join(media_types)},
        "hashes": {"contentType": "text/plain"},
    }
    content = {"multipart/related": {"schema": schema, "encoding": encoding}, **other_answers(_ref("Answer"))}
    return {
        "description": "The answer: its JSON, one binary part for each entry of parts, and the hashes.",
        "content": content,
    }


def _probes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each probe: plain text, or the state as JSON, with the reasons of its models for callers with access."""
    text = {"description": "The report.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    for path, summary in _TEXT_PROBES.items():
        yield path, {"get": _probe(path, summary, {"200": text})}
    properties = {"status": {"type": "string"}, "models": {"type": "object"}}
    schema = {"type": "object", "properties": properties, "required": ["status"]}
    report = {"description": "The state and its reasons.", "content": {"application/json": {"schema": schema}}}
    for path, summary in _HEALTH_PROBES.items():
        yield path, {"get": _probe(path, summary, {"200": report, "503": report})}


def _probe(path: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": path.strip("/"), "tags": ["probes"], "summary": summary, "responses": responses}


def _answer() -> dict[str, Any]:
    schema = TypeAdapter(AnswerJSON).json_schema(ref_template=REFERENCE)
    schema.pop("$defs", None)
    return schema


def _definitions(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    found: dict[str, Any] = adapter.json_schema(ref_template=REFERENCE).get("$defs", {})
    return found


def _problem() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "RFC 9457. limit and value name a limit, pointer a place in JSON.",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "request_id": text,
            "pointer": text,
            "limit": text,
            "value": {"type": "integer"},
            "error": {"type": "string", "description": "The detail, below /v2."},
        },
        "required": ["type", "title", "status", "request_id"],
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=name)}
