"""Preflight: which models accept a study, from its headers or a reference, before it is sent (docs/studies.md)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import flask

from gateway.contract.model import Model
from gateway.contract.requests import MODALITY, Request
from gateway.endpoints.access_control import caller_name, require
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule, admission_ticket
from gateway.errors import ParameterRefused, UnsupportedMedia
from gateway.intake.body import Body, read_json
from gateway.intake.receiving import ReceiveOptions
from gateway.intake.request_bodies import receive_body
from gateway.observe.phases import Phases
from gateway.protocol.request import parse_json
from gateway.wire import parse_options_header


def _preflight() -> flask.Response:
    require("infer")
    from gateway.binding.bound_request import negotiate_output
    from gateway.binding.preflight import preflight  # imports pydicom and pydantic, which plain models do not need

    with _parts() as (json, files):
        output = negotiate_output(Request(json, [], "", accept=flask.request.headers.get("Accept", "")))
        opinions = preflight(_models(json.get("models")), files, output, json.get(MODALITY))
    return flask.jsonify(
        {
            "models": [
                {
                    "model": opinion.model,
                    "accepted": opinion.request.accepted,
                    "reasons": list(opinion.request.reasons),
                    "series": [
                        {"series_instance_uid": uid, "accepted": verdict.accepted, "reasons": list(verdict.reasons)}
                        for uid, verdict in opinion.series.items()
                    ],
                }
                for opinion in opinions
            ]
        }
    )


@contextmanager
def _parts() -> Iterator[tuple[dict[str, Any], list[BinaryIO]]]:
    """Yield the JSON and the files, from the parts of the request or from the store."""
    environ, service = flask.request.environ, current_service()
    settings = service.settings
    with admission_ticket() as ticket:
        if parse_options_header(environ.get("CONTENT_TYPE", ""))[0] == "application/json":
            json = parse_json(read_json(environ, settings, ticket), None)
            if service.store is None:
                raise UnsupportedMedia("This gateway stores no studies: send the headers of the files in parts.")
            if "from" in json:
                raise ParameterRefused([("/from", "Preflight fetches no study; ask it about one that is stored.")])
            from gateway.endpoints.store_views import store_context  # SQLAlchemy, which headers in parts spare

            with store_context().references.resolve(json, caller_name()) as resolved:
                yield json, resolved.files
        else:
            received = receive_body(Body.of(environ, settings, ticket), ReceiveOptions(settings, ticket, Phases()))
            yield received.json, received.instances


def _models(named: Any) -> Mapping[str, Model]:
    models = current_service().models
    if named is None:
        return models
    if not isinstance(named, list) or not all(isinstance(route, str) and route in models for route in named):
        raise ParameterRefused([("/models", "models should be a list of routes that have a model.")])
    return {route: models[route] for route in named}


RULES: tuple[Rule, ...] = (("POST", "/preflight", _preflight),)
