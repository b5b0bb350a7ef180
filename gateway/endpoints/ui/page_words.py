"""What the page is told before it asks: who is logged in, what this gateway has, and its models as cards."""

import flask

from gateway import __version__
from gateway.contract.model import Model
from gateway.contract.requests import JSON
from gateway.endpoints.access_control import authenticator, caller, may_see_reasons, require
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule
from gateway.executors.states import ModelHealth

LIMITS = ("max_body_bytes", "max_parts", "max_json_bytes", "sessions")


def _config() -> flask.Response:
    service, sender = current_service(), caller()
    settings = service.settings
    return flask.jsonify(
        {
            "version": __version__,
            "authentication": authenticator().on,
            "caller": None if sender is None else {"name": sender.name, "roles": sorted(sender.roles)},
            "csrf": authenticator().csrf_of(flask.request.environ),
            "store": service.store is not None,
            "runs": service.store is not None,
            "sessions": "gateway.sessions" in flask.current_app.extensions,
            "dicomweb": settings.dicomweb,
            "ohif": settings.ohif_url or None,
            "limits": {name: getattr(settings, name) for name in LIMITS},
        }
    )


def _models() -> flask.Response:
    require("infer")
    service, sender = current_service(), caller()
    report = service.report()
    return flask.jsonify(
        [
            _card(route, model, report.models.get(model.name))
            for route, model in service.models.items()
            if sender is None or sender.may_use(route)
        ]
    )


def _card(route: str, model: Model, health: ModelHealth | None) -> JSON:
    words, card = model.describe(), model.card
    summary, _, rest = words.text.partition("\n")
    arguments = words.arguments or ()
    return {
        "route": route,
        "name": words.name or model.name,
        "version": card.version,
        "summary": summary,
        "description": rest.strip(),
        "sentences": [*words.sentences, *filter(None, [model.execution.device_sentence])],
        "state": health.state.value if health else "",
        "reason": health.reason if health and may_see_reasons() else "",
        "typed": words.arguments is not None,
        "inputs": [
            {"name": one.name, "kind": one.type, "many": one.many, "optional": one.optional} for one in arguments
        ],
        "parameters": model.parameters_schema("#/{model}"),
        "outputs": None if words.findings is None else list(words.findings),
        "interactive": model.interactive,
        "durable": model.durable,
        "any_file": model.takes_any_file,
    }


RULES: tuple[Rule, ...] = (("GET", "/config", _config), ("GET", "/models", _models))
