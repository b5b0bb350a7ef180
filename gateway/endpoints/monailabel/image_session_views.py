"""Sessions: an image that is sent once, for the inferences that name it."""

import time

import flask

from gateway.endpoints.access_control import caller_name, refuse_foreign_form, require
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule, admission_ticket
from gateway.endpoints.monailabel.label_models import image_sessions
from gateway.endpoints.timeouts import requested_timeout
from gateway.errors import NotOffered, ParameterRefused
from gateway.intake.body import Body
from gateway.intake.label_forms import receive_label_form
from gateway.intake.receiving import ReceiveOptions
from gateway.observe.phases import Phases
from gateway.spool.anonymous_files import AnonymousFile, SharedFile


def _open() -> flask.Response:
    """Hold the image of a form, unpacked."""
    require("infer")
    refuse_foreign_form()
    environ, settings, expiry = flask.request.environ, current_service().settings, _expiry()
    seconds = requested_timeout(environ) or settings.request_timeout
    with admission_ticket() as ticket:
        deadline = time.monotonic() + min(seconds, settings.request_timeout)
        options = ReceiveOptions(settings, ticket, Phases("receive"), deadline, _in_memory)
        received = receive_label_form(Body.of(environ, settings, ticket), lambda _: b"{}", options, unpack=True)
        if not received.instances:
            raise ParameterRefused([("/files", "Send the image in the field files of a form.")])
        words = image_sessions().open(caller_name(), received.instances, expiry)
    return flask.jsonify({"session_id": words["name"], "session_info": words})


def _in_memory(_size: int) -> SharedFile:
    return AnonymousFile.in_memory(), None


def _expiry() -> int:
    text = flask.request.args.get("expiry", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ParameterRefused([("/expiry", "expiry should be a whole number of seconds.")])
    return int(text)


def _read(id: str) -> flask.Response:
    require("infer")
    if flask.request.args.get("image", "").lower() in ("1", "true"):
        raise NotOffered("The image of a session is not sent back.")
    return flask.jsonify(image_sessions().words(caller_name(), id))


def _delete(id: str) -> flask.Response:
    require("infer")
    return flask.jsonify(image_sessions().delete(caller_name(), id))


RULES: tuple[Rule, ...] = (
    ("PUT", "/session/", _open),
    ("GET", "/session/<id>", _read),
    ("DELETE", "/session/<id>", _delete),
)
