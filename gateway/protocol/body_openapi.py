"""The bodies of a model's own route in OpenAPI 3.1: those of its requests, and those of its answers."""

from typing import Any

from gateway.protocol.accept import JSON, NIFTI, PNG, ZIP
from gateway.protocol.kinds import DICOM

Content = dict[str, Any]
FORM, OCTETS = "multipart/form-data", "application/octet-stream"
GZIP = "application/gzip"
BODIES = (
    "Other bodies: multipart/form-data, whose files are the study and its attachments and whose fields are the "
    "parameters; one DICOM or NIfTI file, a ZIP archive, or one attachment, with the parameters in the query. "
    "Accept chooses the answer: parts, one DICOM object, a ZIP archive of files, JSON without masks "
    "(application/json; masks=rle has them as run lengths), the contact sheet as image/png, or the masks as one NIfTI "
    "file (application/zip; masks=nifti has a file for each)."
)


def other_bodies(request: dict[str, Any]) -> Content:
    """Return the bodies beside ``multipart/related``; ``request`` is the schema of the parameters."""
    files = {"type": "array", "items": {"type": "string", "contentMediaType": DICOM}}
    form = {"type": "object", "properties": {"json": request, "files": files}}
    encoding = {"json": {"contentType": JSON}, "files": {"contentType": DICOM}}
    return {FORM: {"schema": form, "encoding": encoding}, DICOM: {}, NIFTI: {}, GZIP: {}, ZIP: {}, OCTETS: {}}


def other_answers(answer: dict[str, Any]) -> Content:
    """Return the answers beside ``multipart/related``; ``answer`` is the schema of the JSON."""
    return {DICOM: {}, ZIP: {}, JSON: {"schema": answer}, PNG: {}, NIFTI: {}}


def query(request: dict[str, Any]) -> dict[str, Any]:
    """Return the query of a request whose body has no place for parameters."""
    return {
        "name": "parameters",
        "in": "query",
        "style": "form",
        "explode": True,
        "schema": request,
        "description": "Parameters of the model, such as ?threshold=0.4; those of multipart/related are in its JSON.",
    }
