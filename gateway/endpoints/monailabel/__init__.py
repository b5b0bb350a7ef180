"""MONAI Label's REST API below ``/monai``: 3D Slicer's module and the Python client, unchanged (docs/monailabel.md)."""

from collections.abc import Collection

import flask

from gateway.dicom.volumes.nifti_library import nibabel
from gateway.endpoints.guarded_views import Rule, answering, answering_inference
from gateway.endpoints.monailabel import application_views, datastore_views, image_session_views, label_inference
from gateway.endpoints.monailabel.label_models import IMAGE_SESSIONS, PREFIX
from gateway.sessions.image_sessions import ImageSessions

RULES: tuple[Rule, ...] = (
    *application_views.RULES,
    *image_session_views.RULES,
    *datastore_views.RULES,
)


def add_monailabel(app: flask.Flask, sessions: ImageSessions, taken: Collection[str]) -> None:
    """Add the routes, but for the paths that the service has ``taken``; ``sessions`` hold images.

    Raises ValueError without nibabel, since 3D Slicer sends NIfTI.
    """
    try:
        nibabel()
    except ImportError as error:
        raise ValueError(f"monai (GATEWAY_MONAI) cannot be on: {error}") from error
    app.extensions[IMAGE_SESSIONS] = sessions
    pages = flask.Blueprint("gateway_monailabel", __name__, url_prefix=PREFIX)
    views = [(*rule[:2], answering(rule[2])) for rule in RULES]
    views += [(*rule[:2], answering_inference(rule[2])) for rule in label_inference.RULES]
    for method, path, view in views:
        if f"{PREFIX}{path}" not in taken:
            endpoint = f"{method} {path}".replace(".", " ")
            pages.add_url_rule(path, endpoint, view, methods=[method], strict_slashes=False)
    app.register_blueprint(pages)
