"""What the views share: the prefix, the models by name, the sessions of images, and refusals."""

from collections.abc import Callable

import flask

from gateway.contract.model import Model
from gateway.endpoints.access_control import caller, require
from gateway.endpoints.current import current_service
from gateway.errors import ModelNotFound, NotOffered
from gateway.protocol.monailabel.label_info import label_model_name
from gateway.sessions.image_sessions import ImageSessions

PREFIX = "/monai"
DOOR = "monailabel"
"""The name of this door in metrics, audit and logs."""
IMAGE_SESSIONS = "gateway.image_sessions"


def label_models() -> dict[str, tuple[str, Model]]:
    """Return route and model by the names of the models that the caller may use.

    An AIGES wrapper and a function of one file are left out: they take no image.
    """
    models = current_service().models
    routes = sorted(models, key=lambda route: route != "/")  # a route /default goes before the root
    found = {label_model_name(route): (route, models[route]) for route in routes}
    sender = caller()
    return {
        name: (route, model)
        for name, (route, model) in found.items()
        if model.durable and not model.takes_any_file and (sender is None or sender.may_use(route))
    }


def label_model(name: str) -> Model:
    """Return a model by its name. Raises ModelNotFound, Forbidden."""
    require("infer")
    found = label_models().get(name)
    if found is None:
        raise ModelNotFound(f"No model of this caller has this name; GET {PREFIX}/info/ lists them.")
    route, model = found
    require("infer", route=route)
    return model


def image_sessions() -> ImageSessions:
    """Return the sessions of this process."""
    sessions: ImageSessions = flask.current_app.extensions[IMAGE_SESSIONS]
    return sessions


def not_offered(sentence: str) -> Callable[..., flask.Response]:
    """Return a view that refuses what the gateway does not have, with a sentence."""

    def view(**_path: str) -> flask.Response:
        raise NotOffered(sentence)

    return view
