"""Files that the page sends to be shown: decoded, and answered as an array."""

import hashlib
from typing import BinaryIO

import flask

from gateway.dicom.web import shown_images
from gateway.endpoints.access_control import require
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule, admission_ticket
from gateway.errors import RequestError
from gateway.intake.body import Body
from gateway.intake.receiving import ReceiveOptions
from gateway.intake.request_bodies import receive_body
from gateway.observe.phases import Phases

MEDIA_TYPE = "application/octet-stream"


def _show() -> flask.Response:
    require("infer")
    environ, settings = flask.request.environ, current_service().settings
    with admission_ticket() as ticket:
        received = receive_body(Body.of(environ, settings, ticket), ReceiveOptions(settings, ticket, Phases()))
        if len(received.instances) != 1:
            raise RequestError("Send one file, as application/dicom or application/x-nifti.")
        file = received.instances[0]
        shown = shown_images.show(file, patient="patient" in flask.request.args)
        return answer(shown, hashlib.file_digest(_rewound(file), "sha256").hexdigest())  # type: ignore[arg-type]


def _rewound(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    return file


def answer(shown: shown_images.ShownImage, digest: str) -> flask.Response:
    """Return an image as the page reads it; ``digest`` is the sha256 of the file, in hexadecimal."""
    shown.header["digest"] = digest
    data = b"".join(shown_images.encode(shown))
    return flask.Response(data, content_type=MEDIA_TYPE)


RULES: tuple[Rule, ...] = (("POST", "/pictures", _show),)
