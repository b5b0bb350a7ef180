"""Stored studies for the page: what is in them, what ran on them, where results went, and their pictures."""

from collections.abc import Mapping
from typing import Any

import flask

from gateway.contract.requests import JSON
from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.web import shown_images
from gateway.endpoints.access_control import caller_name, require
from gateway.endpoints.current import current_service
from gateway.endpoints.dicomweb.recorded import record, require_audit
from gateway.endpoints.dicomweb.resources import found, owners
from gateway.endpoints.guarded_views import Rule, admission_ticket
from gateway.endpoints.results import entry_of as result_entry
from gateway.endpoints.run_entries import PROBLEMS, stored_runs, summary_of
from gateway.endpoints.store_views import moment, page, paged, store_context
from gateway.endpoints.ui.shown_files import answer
from gateway.endpoints.ui.study_search import listed, typed_query
from gateway.errors import GatewayError, StudyNotFound
from gateway.runs.rows import Run
from gateway.studies import delivery_rows, instance_rows
from gateway.studies.instance_rows import HeldInstance, StudySummary
from gateway.studies.listings import Filter, list_results
from gateway.studies.manifests import is_uid
from gateway.studies.query.searching import search

NEWEST = 50
"""Runs and results of a study that the page lists, the newest first."""


def _studies() -> flask.Response:
    """List stored studies: those of a search among all that the caller may see, where there are tables for it."""
    require("read")
    require_audit()
    return _search() if current_service().settings.dicomweb else _own_studies()


def _search() -> flask.Response:
    args, (limit, after) = flask.request.args, page()
    place = after or "0"
    matches, more = search(store_context().store, owners(), typed_query(args, limit, place))
    record("ui-studies", matches=len(matches))
    runs = stored_runs().numbers_by_study(caller_name(), [match.uids[0] for match in matches])
    studies = [{**listed(match, patient="patient" in args), "runs": runs.get(match.uids[0], 0)} for match in matches]
    return flask.jsonify({"studies": studies, "next": str(int(place) + len(studies)) if more else None})


def _own_studies() -> flask.Response:
    """List the caller's own studies by UID, each as one of its files states it."""
    store, (limit, after), caller = store_context().store, page(), caller_name()
    with store.index.reading() as connection:
        since = store.retention.since
        summaries = instance_rows.summaries(connection, caller, since, after=after, limit=limit + 1)
        uids = [summary.study_instance_uid for summary in summaries]
        firsts = instance_rows.of_each_series(connection, caller, since, uids)
    runs = stored_runs().numbers_by_study(caller, uids)
    record("ui-studies", matches=min(len(summaries), limit))
    series: dict[str, list[JSON]] = {uid: [] for uid in uids}
    with admission_ticket():
        for one in firsts:
            series[one.study_instance_uid].append(_series_words(one))
    entries = [_listed(each, series[each.study_instance_uid], runs) for each in summaries]
    return paged("studies", entries, limit, "study_instance_uid")


def _listed(summary: StudySummary, series: list[JSON], runs: Mapping[str, int]) -> JSON:
    return {
        "study_instance_uid": summary.study_instance_uid,
        "date": series[0]["date"] if series else "",
        "description": series[0]["study_description"] if series else "",
        "modalities": sorted({one["modality"] for one in series if one["modality"]}),
        "series": summary.series,
        "instances": summary.instances,
        "runs": runs.get(summary.study_instance_uid, 0),
    }


def _study(uid: str) -> flask.Response:
    """Describe one study: its series with their instances, its runs, results and deliveries."""
    require("read")
    require_audit()
    instances = found(uid)
    record("ui-study", uid, instances=len(instances))
    by_series: dict[str, list[HeldInstance]] = {}
    for one in instances:
        by_series.setdefault(one.series_instance_uid, []).append(one)
    series = [_series(some) for some in by_series.values()]
    first = series[0]
    return flask.jsonify(
        {
            "study_instance_uid": uid,
            "date": first["date"],
            "description": first["study_description"],
            "series": series,
            **_history(uid),
        }
    )


def _history(uid: str) -> JSON:
    caller, store = caller_name(), store_context().store
    with store.index.reading() as connection:
        deliveries = delivery_rows.of_study(connection, caller, uid)
    return {
        "runs": [_run(run) for run in stored_runs().page(caller, study=uid, limit=NEWEST)],
        "results": [result_entry(one) for one in list_results(store, caller, Filter(study=uid), limit=NEWEST)],
        "deliveries": [
            {
                "destination": one.destination,
                "state": one.state.value,
                "tries": one.tries,
                "outcome": one.outcome,
                "queued": moment(one.queued_at),
                "ended": None if one.ended_at is None else moment(one.ended_at),
            }
            for one in deliveries
        ],
    }


def _run(run: Run) -> JSON:
    problem = stored_runs().problem(run) if run.state in PROBLEMS else None
    return summary_of(run) | {"problem": problem}


def _request(id: str) -> flask.Response:
    """Return the JSON of a run that names what is stored, so that it can be sent again."""
    require("read")
    return flask.jsonify(stored_runs().request(stored_runs().get(caller_name(), id)))


def _series(instances: list[HeldInstance]) -> JSON:
    listed = [{"sop_instance_uid": one.sop_instance_uid, "sha256": one.sha256, "size": one.size} for one in instances]
    return {**_series_words(instances[0]), "instances": listed}


def _series_words(one: HeldInstance) -> dict[str, Any]:
    """Describe a series by one of its files; a header that cannot be read says nothing."""
    names = {
        "date": "StudyDate",
        "study_description": "StudyDescription",
        "modality": "Modality",
        "description": "SeriesDescription",
        "number": "SeriesNumber",
        "body_part": "BodyPartExamined",
    }
    words = dict.fromkeys(names, "")
    try:
        (file,) = store_context().store.open_instances([one], unchanged=True)
        with file:
            header = read_instance(file).header
            words = {name: text(header, keyword) for name, keyword in names.items()}
    except GatewayError:
        pass
    return {"series_instance_uid": one.series_instance_uid, **words}


def _picture(study: str, series: str, instance: str) -> flask.Response:
    require("read")
    require_audit()
    if not all(map(is_uid, (study, series, instance))):
        raise StudyNotFound("No such instance is stored for this caller.")
    stored = found(study, series, instance)
    with admission_ticket():
        (file,) = store_context().store.open_instances(stored[:1], unchanged=True)
        with file:
            shown = shown_images.show(file, patient="patient" in flask.request.args)
        record("ui-picture", study, instances=1)
        return answer(shown, stored[0].sha256)


RULES: tuple[Rule, ...] = (
    ("GET", "/studies", _studies),
    ("GET", "/studies/<uid>", _study),
    ("GET", "/runs/<id>/request", _request),
    ("GET", "/studies/<study>/series/<series>/instances/<instance>/picture", _picture),
)
