"""Sessions over HTTP: created or found again, shown, renamed, restarted and destroyed."""

import re
from typing import Any

import flask

from gateway.adapters.backendai.model_commands import is_version, route_of
from gateway.endpoints.access_control import caller_name, require
from gateway.endpoints.backendai.door import door, session, words
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule
from gateway.endpoints.store_views import moment
from gateway.errors import ComputeSessionNotFound, ParameterRefused

SESSION_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
IMAGE_CHARACTERS = 255
NEW_NAME = ("name", "clientSessionToken")
"""Members with the name of a session: of the client, and of versions of the API before 5."""
UNSERVED = ("bootstrap_script", "startupCommand", "startup_command", "starts_at", "dependencies", "callback_url")
UNSERVED_CONFIG = ("mounts", "environ")


def _create() -> flask.Response:
    given = words()
    name = _name(next((given[key] for key in NEW_NAME if given.get(key)), ""))
    _refuse_unserved(given)
    image = given.get("image") or given.get("lang") or ""
    route = _route(image)
    require("infer", route=route)
    reuse = given.get("reuseIfExists", True) is not False
    found, created = door().sessions.create(caller_name(), name, route, image, reuse=reuse)
    answer = {
        "sessionId": found.id,
        "sessionName": found.name,
        "kernelId": found.id,
        "created": created,
        "status": "RUNNING",
        "servicePorts": [],
    }
    return _json(answer, 201 if created else 200)


def _name(name: Any) -> str:
    if not isinstance(name, str) or not SESSION_NAME.fullmatch(name):
        sentence = "name should be 1 to 64 letters, digits, dots, _ and -, with a letter or digit at both ends."
        raise ParameterRefused([("/name", sentence)])
    return name


def _route(image: Any) -> str:
    """Return the route of the model that an image names. Raises ParameterRefused, ComputeSessionNotFound."""
    if not isinstance(image, str) or not 0 < len(image) <= IMAGE_CHARACTERS:
        raise ParameterRefused([("/image", "image should be the name of a model, such as lungs.")])
    models = {route: model for route, model in current_service().models.items() if model.durable}
    route, tag = route_of(image, models)
    if not route:
        raise ComputeSessionNotFound("No model of this gateway has the name of the image; GET /docs lists the models.")
    if not is_version(tag, models[route].card.version):
        raise ComputeSessionNotFound("The model has another version than the image's tag; leave the tag out.")
    return route


def _refuse_unserved(given: dict[str, Any]) -> None:
    """Raise ParameterRefused for what a session here does not have, and what would be missed without a word."""
    config = given.get("config") or {}
    if not isinstance(config, dict):
        raise ParameterRefused([("/config", "config should be an object.")])
    faults = [(f"/{name}", f"A session here is a model and has no {name}.") for name in UNSERVED if given.get(name)]
    faults += [(f"/config/{name}", f"A session has no {name}.") for name in UNSERVED_CONFIG if config.get(name)]
    if given.get("type", "interactive") != "interactive":
        faults.append(("/type", "The type of a session here is interactive."))
    if given.get("clusterSize", 1) != 1 or config.get("clusterSize", 1) != 1:
        faults.append(("/clusterSize", "A session here is one container."))
    if faults:
        raise ParameterRefused(faults)


def _show(name: str) -> flask.Response:
    found = session(name)
    model = current_service().models[found.route]
    return _json(
        {
            "lang": found.image,
            "image": found.image,
            "sessionName": found.name,
            "status": "RUNNING",
            "route": found.route,
            "model": {"name": model.card.name, "version": model.card.version},
            "creationTime": moment(found.created_at),
            "age": int(max(0.0, found.used_at - found.created_at) * 1000),
        }
    )


def _rename(name: str) -> flask.Response:
    found = session(name)
    door().sessions.rename(found, _name(flask.request.args.get("name", "")))
    return flask.Response(status=204)


def _interrupt(name: str) -> flask.Response:
    """Cancel what runs, which is all that a restart has to do: a session has no process of its own."""
    door().executions.interrupt(session(name))
    return flask.Response(status=204)


def _destroy(name: str) -> flask.Response:
    found = session(name)
    door().executions.interrupt(found)
    door().sessions.destroy(found)
    return _json({"stats": {}})


def _logs(name: str) -> flask.Response:
    return _json({"result": {"logs": door().executions.log(session(name))}})


def _complete(name: str) -> flask.Response:
    session(name)
    return _json([])


def _json(answer: Any, status: int = 200) -> flask.Response:
    response = flask.jsonify(answer)
    response.status_code = status
    return response


RULES: tuple[Rule, ...] = (
    ("POST", "", _create),
    ("POST", "/create", _create),
    ("GET", "/<name>", _show),
    ("PATCH", "/<name>", _interrupt),
    ("DELETE", "/<name>", _destroy),
    ("POST", "/<name>/rename", _rename),
    ("POST", "/<name>/interrupt", _interrupt),
    ("GET", "/<name>/logs", _logs),
    ("POST", "/<name>/complete", _complete),
)
