"""The application: what it offers, who may call, where its logs are, and what it does not have."""

from urllib.parse import parse_qs

import flask

from gateway import __version__
from gateway.config import KiB
from gateway.contract.requests import JSON
from gateway.endpoints.access_control import AccessControl, caller, caller_name, may_see_reasons, require
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule
from gateway.endpoints.monailabel.datastore_views import count_images
from gateway.endpoints.monailabel.label_models import label_models, not_offered
from gateway.errors import BrokenBody, LimitExceeded, Unauthenticated
from gateway.intake.body import body, content_length, required_media_type
from gateway.protocol.monailabel.label_info import info_words, status_words

FORM = "application/x-www-form-urlencoded"
LOGIN_BYTES = 16 * KiB
"""Bytes of a login: a name, and a key or a token."""
LOGS = "The gateway writes its logs to standard error and serves none; each response names its request's id."


def _info() -> flask.Response:
    """Describe the models that the caller may use."""
    models = {name: model for name, (_, model) in label_models().items()}
    return flask.jsonify(info_words(models, __version__, status_words(count_images())))


def _logs() -> flask.Response:
    """Say where the logs are, and what state the models have."""
    require("read")
    health = current_service().report().models
    lines = [LOGS, ""]
    for name, (_, model) in label_models().items():
        known = health.get(model.name)
        reason = f": {known.reason}" if known is not None and known.reason and may_see_reasons() else ""
        lines.append(f"{name}: {known.state if known else 'unknown'}{reason}")
    return flask.Response("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")


def _auth() -> flask.Response:
    """Say whether callers need a key or a token."""
    return flask.jsonify({"enabled": _control().authenticator.on, "client_id": "", "realm": ""})


def _token() -> flask.Response:
    """Return the password of a login as the token that it is: the key, or the token, of the caller of this name.

    Raises Unauthenticated for any other.
    """
    words, control = _login(), _control()
    if not control.authenticator.on:
        return flask.jsonify({"access_token": None, "token_type": None})
    name, key = words.get("username", [""])[0], words.get("password", [""])[0]
    found = control.authenticator.caller({"HTTP_AUTHORIZATION": f"Bearer {key}"})
    if found.name != name:
        detail = "Log in with the caller's name, and its key or token as the password."
        raise Unauthenticated(detail, proof_given=True, private=f"a login with another name than {found.name}")
    response = flask.jsonify({"access_token": key, "token_type": "Bearer"})
    response.headers["Cache-Control"] = "no-store"  # RFC 6749 5.1
    return response


def _valid_token() -> flask.Response:
    """Return the caller; access control has refused any token that is not valid."""
    sender = caller()
    roles = sorted(sender.roles) if sender is not None else []
    return flask.jsonify({"username": caller_name(), "email": None, "name": None, "roles": roles})


def _login() -> dict[str, list[str]]:
    """Read the form of a login (RFC 6749 4.3.2). Raises UnsupportedMedia, LimitExceeded, BrokenBody."""
    environ, text = flask.request.environ, bytearray()
    required_media_type(environ, FORM)
    for piece in body(environ, content_length(environ), current_service().settings):
        text += piece
        if len(text) > LOGIN_BYTES:
            raise LimitExceeded("LOGIN_BYTES", LOGIN_BYTES, what="A login")
    try:
        return parse_qs(text.decode(), max_num_fields=16)
    except ValueError:
        raise BrokenBody("The form of a login should have username and password, in UTF-8.") from None


def _control() -> AccessControl:
    control: AccessControl = flask.current_app.extensions["gateway.access"]
    return control


TRAINING = not_offered("This gateway trains no models; serve another version of the model.")
BATCH = not_offered("This gateway runs no batches here; python -m gateway batch does, over a folder.")
ABSENT: JSON = {
    "/train/": (("GET", "POST", "DELETE"), TRAINING),
    "/train/<path:name>": (("POST",), TRAINING),
    "/activelearning/<path:name>": (
        ("POST",),
        not_offered("This gateway chooses no samples; GET /monai/datastore/?output=all lists the images."),
    ),
    "/batch/infer": (("GET", "DELETE"), BATCH),
    "/batch/infer/<path:name>": (("POST",), BATCH),
    "/scoring/": (("GET", "POST", "DELETE"), not_offered("This gateway scores no labels.")),
    "/model/<path:name>": (
        ("GET", "PUT", "DELETE"),
        not_offered("Files of models are not here; GET /bundles lists what a study store has."),
    ),
    "/infer/wsi/<path:name>": (("POST",), not_offered("This gateway infers on no whole slide images here.")),
}
"""What clients may ask for and the gateway does not have: the methods, and the view that says so."""

RULES: tuple[Rule, ...] = (
    ("GET", "/info/", _info),
    ("GET", "/logs/", _logs),
    ("GET", "/auth/", _auth),
    ("POST", "/auth/token", _token),
    ("GET", "/auth/token/valid", _valid_token),
    *((method, path, view) for path, (methods, view) in ABSENT.items() for method in methods),
)
