"""nnInteractive's remote sessions below ``/nninteractive``: its client clicks on one model (docs/nninteractive.md)."""

import contextlib
import json
from collections.abc import Callable, Collection
from functools import partial, wraps
from typing import Any, ParamSpec

import flask
import numpy as np
from numpy.typing import NDArray

from gateway.contract.model import Model
from gateway.contract.requests import JSON
from gateway.endpoints.access_control import caller_name, require
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule, admission_ticket, answering
from gateway.endpoints.problems import request_id
from gateway.endpoints.timeouts import requested_timeout
from gateway.errors import LeaseExpired, ParameterRefused, SessionConflict, SessionGone, StudyRefused
from gateway.intake.admission import Ticket, decoded_bytes
from gateway.intake.body import OCTETS, Body, bounded, read_json, required_octets
from gateway.intake.packed_image import ImageProperties, receive_packed_image
from gateway.intake.piece_stream import PieceStream
from gateway.intake.receiving import Received, ReceiveOptions
from gateway.protocol.nninteractive import prompts
from gateway.protocol.nninteractive.capabilities import CAPABILITIES
from gateway.protocol.nninteractive.packed_arrays import pack, read_head, unpack
from gateway.protocol.region_changes import RegionChange
from gateway.protocol.request import parse_json
from gateway.sessions.click_sessions import DELETE, ClickSessions, Opening
from gateway.sessions.session_leases import EXPIRED, SessionLeases

PREFIX = "/nninteractive"
DOOR = "nninteractive"
"""The name of this door in metrics, audit and logs."""
META = "X-Meta"
"""The field with JSON beside an array."""
BUFFER_TYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
NO_SEGMENTATION = "The model begins with clicks, and cannot go on from a segmentation: click into the object instead."
NO_CLICKS = "The model asks another question than for clicks, which this protocol has no words for."
UNSTATED = (
    "image_properties of set_image states the spacing, three numbers of mm, and may state the modality; "
    "GATEWAY_NNINTERACTIVE_MODALITY states it for all images."
)

P = ParamSpec("P")


def add_nninteractive(app: flask.Flask, taken: Collection[str], *, linked: bool) -> SessionLeases:
    """Add the routes, but for the paths that the service has ``taken``.

    Raises ValueError where the setting names no model that can be clicked on.
    """
    service, sessions = app.extensions["gateway"], app.extensions.get("gateway.sessions")
    model = service.models.get(service.settings.nninteractive)
    if sessions is None or model is None or not model.interactive or _volume(model) is None:
        raise ValueError(
            "nninteractive (GATEWAY_NNINTERACTIVE) should be the route of an interactive model that takes one volume, "
            "such as /region-growing, and sessions (GATEWAY_SESSIONS) should be above 0."
        )
    leases = app.extensions["gateway.leases"] = SessionLeases(sessions, service.settings, linked=linked)
    pages = flask.Blueprint("gateway_nninteractive", __name__, url_prefix=PREFIX)
    for method, path, view in RULES:
        if f"{PREFIX}{path}" not in taken:
            pages.add_url_rule(path, path.strip("/"), answering(_with_lease_errors(view)), methods=[method])
    app.register_blueprint(pages)
    return leases


def _volume(model: Model) -> str | None:
    """Return the name of the one argument that a model takes from a request, if that is a Volume."""
    arguments = list(model.describe().arguments or ())
    volumes = [one.name for one in arguments if one.type == "Volume" and not one.many]
    others = [one for one in arguments if one.name not in volumes and not one.optional]
    return volumes[0] if len(volumes) == 1 and not others else None


def _with_lease_errors(view: Callable[P, flask.Response]) -> Callable[P, flask.Response]:
    """Answer a session that has ended as a lease that has: the client connects again then."""

    @wraps(view)
    def answered(*args: P.args, **kwargs: P.kwargs) -> flask.Response:
        require("infer", route=current_service().settings.nninteractive)
        try:
            return view(*args, **kwargs)
        except SessionGone:
            raise LeaseExpired(EXPIRED) from None

    return answered


def _healthz() -> flask.Response:
    return flask.jsonify({"ok": True})


def _capabilities() -> flask.Response:
    return flask.jsonify(CAPABILITIES)


def _claim() -> flask.Response:
    return flask.jsonify(_leases().claim(caller_name()))


def _release() -> flask.Response:
    """End the lease; that there is none any more is no error."""
    with contextlib.suppress(LeaseExpired):
        _call("release")
    return flask.jsonify({"released": True})


def _heartbeat() -> flask.Response:
    return flask.jsonify({"remaining_seconds": _call("heartbeat")["remaining_seconds"]})


def _lease_status() -> flask.Response:
    return flask.jsonify(_call("status"))


def _set_image() -> flask.Response:
    _call("session", {"session": "", "shape": None})  # the memory of the former image is free before the next arrives
    settings, meta = current_service().settings, _meta()
    properties = ImageProperties.of(meta, settings.nninteractive_modality)
    opened = _open(properties)
    shape = (opened["question"] or {}).get("shape")
    try:
        if (opened["question"] or {}).get("kind") != "clicks" or shape is None:
            raise SessionConflict(NO_CLICKS)
        _call("session", {"session": opened["id"], "shape": shape})
    except Exception:
        _sessions().call(DELETE, caller_name(), opened["id"], {})
        raise
    return flask.jsonify({"original_image_shape": [1, *shape]})


def _open(properties: ImageProperties) -> JSON:
    """Open a click session on the image that the body has. Raises what that raises."""
    service, environ = current_service(), flask.request.environ
    route = service.settings.nninteractive
    name = _volume(service.models[route]) or ""

    def source(options: ReceiveOptions) -> Received:
        body = Body.of(environ, options.settings, options.ticket)
        return receive_packed_image(body, name, properties, options)

    opening = Opening(
        route=route,
        request_id=request_id(),
        caller=caller_name(),
        source=source,
        traceparent=environ.get("HTTP_TRACEPARENT", ""),
        door=DOOR,
        timeout=partial(requested_timeout, environ),
    )
    try:
        return _sessions().open(opening)
    except StudyRefused as error:
        if properties.spacing is not None and properties.modality is not None:
            raise
        raise StudyRefused(f"{error.detail} {UNSTATED}", private=error.private) from error


def _set_target_buffer() -> flask.Response:
    words = _words()
    if words.get("dtype") not in BUFFER_TYPES:
        raise ParameterRefused([("/dtype", f"The type of the buffer should be one of {', '.join(BUFFER_TYPES)}.")])
    return flask.jsonify(_call("buffer", {"shape": words.get("shape"), "dtype": words["dtype"]}))


def _set_do_autozoom() -> flask.Response:
    """Take the setting: the model sees the whole image, zoomed or not."""
    _words()
    _call("heartbeat")
    return flask.jsonify({})


def _reset() -> flask.Response:
    with admission_ticket():
        return flask.jsonify(_call("reset"))


def _undo() -> flask.Response:
    return _predicted("undo")


def _predict() -> flask.Response:
    return _predicted("predict")


def _add_point() -> flask.Response:
    words = _words()
    return _prompted(words, prompts.point_input(words, _shape()))


def _add_box() -> flask.Response:
    words = _words()
    return _prompted(words, prompts.box_input(words, _shape()))


def _add_scribble() -> flask.Response:
    return _marked(prompts.scribble_input)


def _add_lasso() -> flask.Response:
    return _marked(prompts.lasso_input)


def _add_initial_seg() -> flask.Response:
    """Refuse a segmentation, which the client has written into its buffer already."""
    _call("overwritten")
    raise ParameterRefused([("", NO_SEGMENTATION)])


def _marked(read: Callable[[JSON, NDArray[Any], list[int]], JSON]) -> flask.Response:
    """Take a prompt whose body is a mask."""
    words, shape = _meta(), _shape()
    with admission_ticket() as ticket:
        found = read(words, _mask(ticket), shape)
    return _prompted(words, found)


def _mask(ticket: Ticket) -> NDArray[Any]:
    settings = current_service().settings
    body = Body.of(flask.request.environ, settings, ticket)
    required_octets(body, settings)
    ticket.expect(body.length or 0)
    stream = PieceStream(bounded(body.pieces, settings))
    head = read_head(stream.exactly, decoded_bytes(settings, body.length or 0), "max_decoded_bytes")
    ticket.expect(head.nbytes)
    mask = unpack(head, stream.exactly)
    ticket.reclaim()
    return mask


def _prompted(words: JSON, found: JSON) -> flask.Response:
    return _predicted("prompt", {"input": found, "run": prompts.runs_prediction(words)})


def _predicted(verb: str, words: JSON | None = None) -> flask.Response:
    """Answer with the box that has changed, and what the region is in it."""
    with admission_ticket():
        reply = _call(verb, words)
    meta: JSON = {"ran_prediction": reply["ran"], "bbox": None}
    body = b""
    if reply["region"] is not None:
        region = RegionChange.of(reply["region"])
        values = region.values().astype(np.dtype(reply["dtype"]))
        meta |= {"bbox": _ranges(region), "dtype": reply["dtype"], "shape": list(values.shape)}
        body = pack(values)
    return flask.Response(body, headers={META: json.dumps(meta)}, content_type=OCTETS)


def _ranges(region: RegionChange) -> list[list[int]]:
    assert region.bounds is not None  # its values are there
    return [list(pair) for pair in zip(*region.bounds, strict=True)]


def _shape() -> list[int]:
    """Return the slices, rows and columns of the image. Raises LeaseExpired, and SessionConflict without one."""
    return list(_call("image")["shape"])


def _words() -> JSON:
    return parse_json(read_json(flask.request.environ, current_service().settings), None)


def _meta() -> JSON:
    """Return the JSON beside an array. Raises BrokenJSON."""
    return parse_json(flask.request.headers.get(META, "{}").encode("latin-1"), None)


def _call(verb: str, words: JSON | None = None) -> JSON:
    return _leases().call(verb, caller_name(), flask.request.headers.get("X-Lease-Token", ""), words)


def _leases() -> SessionLeases:
    leases: SessionLeases = flask.current_app.extensions["gateway.leases"]
    return leases


def _sessions() -> ClickSessions:
    sessions: ClickSessions = flask.current_app.extensions["gateway.sessions"]
    return sessions


RULES: tuple[Rule, ...] = (
    ("GET", "/healthz", _healthz),
    ("GET", "/capabilities", _capabilities),
    ("POST", "/claim", _claim),
    ("POST", "/release", _release),
    ("POST", "/heartbeat", _heartbeat),
    ("GET", "/lease_status", _lease_status),
    ("POST", "/set_image", _set_image),
    ("POST", "/set_target_buffer", _set_target_buffer),
    ("POST", "/set_do_autozoom", _set_do_autozoom),
    ("POST", "/reset_interactions", _reset),
    ("POST", "/undo", _undo),
    ("POST", "/predict", _predict),
    ("POST", "/add_point_interaction", _add_point),
    ("POST", "/add_bbox_interaction", _add_box),
    ("POST", "/add_scribble_interaction", _add_scribble),
    ("POST", "/add_lasso_interaction", _add_lasso),
    ("POST", "/add_initial_seg_interaction", _add_initial_seg),
)
