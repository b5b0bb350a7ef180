"""STOW-RS (PS3.18 10.5), and the removal of a study (PS3.18 10.3 leaves it to the server)."""

import json
from typing import Any

import flask

from gateway.dicom.web.json_model import JsonModel
from gateway.dicom.web.xml_model import xml_model
from gateway.endpoints.access_control import caller_name, require
from gateway.endpoints.arrivals import arrived, routed_sender
from gateway.endpoints.dicomweb.recorded import record, require_audit
from gateway.endpoints.dicomweb.resources import JSON_TYPE, JSON_TYPES, XML_TYPE, Addresses, accepted
from gateway.endpoints.guarded_views import Rule, admission_ticket
from gateway.endpoints.store_views import store_context
from gateway.errors import GatewayError, StudyNotFound
from gateway.intake.chunks import received_instances
from gateway.studies.forgetting import forget
from gateway.studies.manifests import is_uid
from gateway.studies.stow_upload import StowedInstance, StowFailure, StowOutcome, StowUpload

RETRIEVE_URL, SOP_CLASS, SOP, REASON = "00081190", "00081150", "00081155", "00081197"
STORED, FAILED, OTHERS = "00081199", "00081198", "0008119A"
"""ReferencedSOPSequence, FailedSOPSequence; OtherFailuresSequence for parts without UIDs (PS3.18 table 10.5.3-1)."""


def _store(study: str = "") -> flask.Response:
    require("write")
    require_audit()
    if study and not is_uid(study):
        raise StudyNotFound("The study in the path is not a UID (PS3.5 9.1).")
    try:
        outcome = _received(study)
    except GatewayError as error:  # broken off, full, of another type: nothing is stored
        record("dicomweb-store", study, instances=0, failures=0, status=error.status)
        raise
    status = _status(outcome)
    for uid, count in _studies(outcome).items():
        record("dicomweb-store", uid, instances=count, failures=len(outcome.failures), status=status)
    return _answer(_model(outcome, study), status)


def _received(study: str) -> StowOutcome:
    store, environ = store_context().store, flask.request.environ
    with admission_ticket() as ticket:
        upload = StowUpload(store, caller_name(), study, routed_sender(), overlap=ticket.idle_core)
        with received_instances(environ, store.settings, ticket, upload):
            outcome = upload.keep()
    arrived()
    return outcome


def _status(outcome: StowOutcome) -> int:
    """200 for all, 202 for some, 409 for none (PS3.18 table 10.5.3-2)."""
    if not outcome.failures:
        return 200
    return 202 if outcome.stored else 409


def _studies(outcome: StowOutcome) -> dict[str, int]:
    """Count the stored instances of each study; of none where nothing was stored."""
    counts: dict[str, int] = {}
    for instance in outcome.stored:
        uid = instance.entry.study_instance_uid
        counts[uid] = counts.get(uid, 0) + 1
    return counts or {"": 0}


def _model(outcome: StowOutcome, study: str) -> JsonModel:
    known = [failure for failure in outcome.failures if failure.sop_instance_uid]
    others = [failure for failure in outcome.failures if not failure.sop_instance_uid]
    studies = {instance.entry.study_instance_uid for instance in outcome.stored}
    addresses = Addresses()
    sequences = {
        FAILED: [_failure(failure) for failure in known],
        STORED: [_referenced(addresses, instance) for instance in outcome.stored],
        OTHERS: [_failure(failure) for failure in others],
    }
    url = _element("UR", addresses.of(study or studies.pop())) if study or len(studies) == 1 else None
    model = {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}
    return dict(sorted((model | ({RETRIEVE_URL: url} if url else {})).items()))


def _referenced(addresses: Addresses, instance: StowedInstance) -> JsonModel:
    entry = instance.entry
    url = addresses.of(entry.study_instance_uid, entry.series_instance_uid, entry.sop_instance_uid)
    return {
        SOP_CLASS: _element("UI", instance.sop_class_uid),
        SOP: _element("UI", entry.sop_instance_uid),
        RETRIEVE_URL: _element("UR", url),
    }


def _failure(failure: StowFailure) -> JsonModel:
    uids = {SOP_CLASS: failure.sop_class_uid, SOP: failure.sop_instance_uid}
    return {tag: _element("UI", uid) for tag, uid in uids.items() if uid} | {REASON: _element("US", failure.reason)}


def _element(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _answer(model: JsonModel, status: int) -> flask.Response:
    """In JSON, or in XML where that is preferred; the parts are stored by now, whatever is accepted."""
    for one in accepted():
        if any(one.covers(media_type) for media_type in JSON_TYPES):
            break
        if one.covers(XML_TYPE):
            return flask.Response(xml_model(model), status, content_type=XML_TYPE)
    return flask.Response(json.dumps(model), status, content_type=JSON_TYPE)


def _delete(study: str) -> flask.Response:
    """Remove what this caller has of a study, as ``DELETE /studies/<uid>`` does."""
    require("delete")
    require_audit()
    if not is_uid(study):
        raise StudyNotFound("No such study is stored for this caller.")
    context = store_context()
    removed = forget(context.store, study, caller_name(), audit=context.audit)
    record("dicomweb-delete", study, instances=removed.instances, status=204)
    return flask.Response(status=204)


RULES: tuple[Rule, ...] = (
    ("POST", "/studies", _store),
    ("POST", "/studies/<study>", _store),
    ("DELETE", "/studies/<study>", _delete),
)
