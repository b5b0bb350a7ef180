"""The datastore: the caller's series in the study store. Labels are not stored."""

from collections.abc import Callable

import flask

from gateway.contract.requests import JSON, Request, answering
from gateway.dicom.volumes.nifti import encode_series
from gateway.endpoints.access_control import caller_name, require
from gateway.endpoints.current import current_service
from gateway.endpoints.dicomweb.recorded import record, require_audit
from gateway.endpoints.guarded_views import Rule, admission_ticket
from gateway.endpoints.monailabel.label_models import not_offered
from gateway.errors import Forbidden, ParameterRefused, StudyNotFound, Unauthenticated
from gateway.intake.admission import decoded_bytes
from gateway.protocol.monailabel.label_info import LabelImage, datastore_words, status_words
from gateway.studies.manifests import is_uid

LABELS = "This gateway stores no labels; keep the file, or send it to an archive as DICOM SEG."
NOT_STORED = "No such image is stored for this caller."
GZIP = "application/gzip"
IMAGES = "This gateway takes DICOM by its own routes (docs/studies.md, DICOMweb); open a session for any other image."


def images() -> list[LabelImage]:
    """Return the caller's stored series, the latest first; none without a study store."""
    service = current_service()
    if service.store is None:
        return []
    from gateway.studies.stored_series import latest_series  # SQLAlchemy, which a gateway without a store spares

    store = service.store.store
    with store.index.reading() as connection:
        found = latest_series(connection, caller_name(), store.retention.since)
    return [LabelImage(*series) for series in found]


def count_images() -> int:
    """Return how many images the caller may see."""
    try:
        require("read")
    except (Forbidden, Unauthenticated):
        return 0
    return len(images())


def _datastore() -> flask.Response:
    """List the images, or count them; ``output=train`` has pairs of image and label, of which there are none."""
    require("read")
    output = flask.request.args.get("output", "") or "stats"
    if output not in ANSWERS:
        raise ParameterRefused([("/output", f"output should be one of {', '.join(ANSWERS)}.")])
    return flask.jsonify(ANSWERS[output]())


def _image() -> flask.Response:
    """Return a series as NIfTI, whose voxels points count; for HEAD, say that it is there."""
    require("read")
    require_audit()
    id, resolver = flask.request.args.get("image", ""), current_service().resolver(caller_name())
    if resolver is None or not is_uid(id):
        raise StudyNotFound(NOT_STORED)
    if flask.request.method == "HEAD":
        resolver.held({"series": id})
        return flask.Response(content_type=GZIP)
    with admission_ticket() as ticket, resolver.resolve({"series": id}) as resolved:
        size = sum(one.size for one in resolved.held)
        ticket.expect(size)
        request = Request({}, [], "")
        request.context.max_decoded = decoded_bytes(current_service().settings, size)
        with answering(request):
            data = encode_series(resolved.files)
    record("monai-image", resolved.held[0].study_instance_uid, instances=len(resolved.held))
    headers = {"Content-Disposition": f'attachment; filename="{id}.nii.gz"', "Cache-Control": "private, no-cache"}
    return flask.Response(data, headers=headers, content_type=GZIP)


def _info() -> flask.Response:
    """Describe one image."""
    require("read")
    id = flask.request.args.get("image", "")
    found = next((image for image in images() if image.series_instance_uid == id), None)
    if found is None:
        raise StudyNotFound(NOT_STORED)
    return flask.jsonify(found.info())


ANSWERS: dict[str, Callable[[], JSON | list[JSON]]] = {
    "stats": lambda: status_words(len(images())),
    "all": lambda: datastore_words(images()),
    "train": list,
}
RULES: tuple[Rule, ...] = (
    ("GET", "/datastore/", _datastore),
    ("GET", "/datastore/image", _image),
    ("GET", "/datastore/image/info", _info),
    ("GET", "/datastore/download", not_offered("A data set is not packed here; list the images, and load each.")),
    ("PUT", "/datastore/image/info", not_offered("What is known of an image is what its DICOM files state.")),
    *(("PUT", f"/datastore/{name}", not_offered(IMAGES)) for name in ("", "image")),
    *(("DELETE", f"/datastore/{name}", not_offered(IMAGES)) for name in ("", "image")),
    *((method, "/datastore/label", not_offered(LABELS)) for method in ("GET", "PUT", "DELETE")),
    *((method, "/datastore/label/info", not_offered(LABELS)) for method in ("GET", "PUT")),
)
