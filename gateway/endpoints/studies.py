"""Studies that are sent once: ask what is missing, send that, list, look at and forget (docs/studies.md)."""

from collections.abc import Collection
from dataclasses import asdict

import flask

from gateway.endpoints import bundles, preflight, results
from gateway.endpoints.access_control import caller_name, require
from gateway.endpoints.arrivals import arrived, routed_sender
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule, admission_ticket, answering
from gateway.endpoints.store_views import moment, page, paged, store_context
from gateway.errors import ParameterRefused, StudyNotFound
from gateway.intake import chunks
from gateway.intake.body import read_json
from gateway.service.service import Service
from gateway.studies import instance_rows
from gateway.studies.forgetting import forget
from gateway.studies.manifests import is_uid, read_chunk, read_manifest
from gateway.studies.query import filling
from gateway.studies.tables import instances as table
from gateway.studies.uploads import WAYS, InstanceUpload


def add_store(app: flask.Flask, taken: Collection[str]) -> None:
    """Open the store that the settings name, and add its routes but for the paths that the service has ``taken``.

    Raises as ``Store.open``.
    """
    service: Service = app.extensions["gateway"]
    store = service.open_store(authenticated=app.extensions["gateway.access"].authenticator.on).store
    if not store.settings.dicomweb:
        filling.empty(store)
    pages = flask.Blueprint("gateway_studies", __name__)
    for method, path, view in (*RULES, *results.RULES, *bundles.RULES, *preflight.RULES):
        if path not in taken:
            pages.add_url_rule(path, f"{method} {path}".replace(".", " "), answering(view), methods=[method])
    app.register_blueprint(pages)


def _manifest() -> flask.Response:
    require("write")
    store = store_context().store
    entries = read_manifest(read_json(flask.request.environ, store.settings), store.settings.max_parts)
    states = store.states(caller_name(), entries)
    answers = [
        {"sop_instance_uid": entry.sop_instance_uid, "sha256": entry.sha256, "state": state, **_existing(existing)}
        for entry, (state, existing) in zip(entries, states, strict=True)
    ]
    return flask.jsonify({"instances": answers})


def _instances() -> flask.Response:
    require("write")
    store, caller = store_context().store, caller_name()
    way = flask.request.args.get("on_conflict", "fail")
    if way not in WAYS:
        raise ParameterRefused([("/on_conflict", f"on_conflict should be one of {', '.join(WAYS)}.")])

    def opened(text: bytes) -> InstanceUpload:
        return InstanceUpload(store, caller, way, read_chunk(text, store.settings.max_parts), routed_sender())

    with admission_ticket() as ticket, chunks.received(flask.request.environ, store.settings, ticket, opened) as upload:
        outcomes = upload.keep()
    arrived()
    answers = [
        {"sop_instance_uid": outcome.entry.sop_instance_uid, "sha256": outcome.entry.sha256, "state": outcome.state}
        | _existing(outcome.existing)
        for outcome in outcomes
    ]
    return flask.jsonify({"instances": answers})


def _existing(digest: str | None) -> dict[str, str]:
    return {"existing": digest} if digest else {}


def _list() -> flask.Response:
    require("read")
    store, (limit, after) = store_context().store, page()
    with store.index.reading() as connection:
        since = store.retention.since
        summaries = instance_rows.summaries(connection, caller_name(), since, after=after, limit=limit + 1)
    entries = [
        {
            "study_instance_uid": summary.study_instance_uid,
            "series": summary.series,
            "instances": summary.instances,
            "bytes": summary.size,
            "stored": moment(summary.stored_at),
            "used": moment(summary.used_at),
        }
        for summary in summaries
    ]
    return paged("studies", entries, limit, "study_instance_uid")


def _study(uid: str) -> flask.Response:
    require("read")
    store, series = store_context().store, dict[str, list[dict[str, object]]]()
    with store.index.reading() as connection:
        since, of_study = store.retention.since, table.c.study_instance_uid == _checked(uid)
        held = instance_rows.held(connection, caller_name(), since, of_study)
    if not held:
        raise StudyNotFound("No such study is stored for this caller.")
    for instance in held:
        entry = {name: asdict(instance)[name] for name in ("sop_instance_uid", "sha256", "size")}
        series.setdefault(instance.series_instance_uid, []).append(entry)
    listed = [{"series_instance_uid": name, "instances": entries} for name, entries in series.items()]
    return flask.jsonify({"study_instance_uid": uid, "series": listed})


def _forget(uid: str) -> flask.Response:
    callers = flask.request.args.get("callers", "mine")
    if callers not in ("mine", "all"):
        raise ParameterRefused([("/callers", "callers should be mine or all.")])
    require("admin" if callers == "all" else "delete")
    auditor = current_service().auditor
    if auditor is not None:
        auditor.ready()
    everybody, context = callers == "all", store_context()
    record = forget(context.store, _checked(uid), caller_name(), everybody=everybody, audit=context.audit)
    return flask.jsonify({"study_instance_uid": uid, **record.counts})


def _checked(uid: str) -> str:
    if not is_uid(uid):
        raise StudyNotFound("No such study is stored for this caller.")
    return uid


RULES: tuple[Rule, ...] = (
    ("POST", "/studies/manifest", _manifest),
    ("POST", "/studies/instances", _instances),
    ("GET", "/studies", _list),
    ("GET", "/studies/<uid>", _study),
    ("DELETE", "/studies/<uid>", _forget),
)
