"""A run as its caller sees it: JSON, with links."""

from typing import Any

import flask

from gateway.delivery.webhooks import Webhooks
from gateway.endpoints.current import current_service
from gateway.endpoints.dicomweb.resources import found
from gateway.endpoints.store_views import moment
from gateway.errors import StudyNotFound
from gateway.runs.lifecycle import RunState
from gateway.runs.rows import Run
from gateway.runs.runs import Runs

PROBLEMS = (RunState.REFUSED, RunState.FAILED)
"""The states of runs that ended with a problem."""


def stored_runs() -> Runs:
    """Return the runs of this application."""
    runs: Runs = flask.current_app.extensions["gateway.runs"]
    return runs


def sent_webhooks() -> Webhooks:
    """Return the webhooks of this application."""
    webhooks: Webhooks = flask.current_app.extensions["gateway.webhooks"]
    return webhooks


def path_of(run: Run) -> str:
    """Return the path of a run as its client reaches it."""
    return f"{flask.request.script_root}/runs/{run.id}"


def entry_of(run: Run) -> dict[str, Any]:
    """Return a run as JSON."""
    runs = stored_runs()
    more = {
        "position": runs.ahead(run) if run.state is RunState.QUEUED else None,
        "progress": runs.progress(run),
        "question": _question(run),
        "problem": runs.problem(run) if run.state in PROBLEMS else None,
        "webhook": sent_webhooks().of(run.key),
    }
    summary = summary_of(run)
    return summary | more | {"links": summary["links"] | _viewers(run)}


def summary_of(run: Run) -> dict[str, Any]:
    """Return a run as JSON, without what takes a look at its events."""
    path = path_of(run)
    return {
        "id": run.id,
        "route": run.route,
        "state": run.state.value,
        "sequence": run.sequence,
        "created": moment(run.created_at, "milliseconds"),
        "started": None if run.started_at is None else moment(run.started_at, "milliseconds"),
        "ended": None if run.ended_at is None else moment(run.ended_at, "milliseconds"),
        "attempts": run.attempts,
        "status": run.status or None,
        "reason": run.reason or None,
        "links": {"self": path} | {name: f"{path}/{name}" for name in ("events", "result", "input")},
    }


def _viewers(run: Run) -> dict[str, str]:
    """Return the address at which OHIF shows the studies of a finished run, those that DICOMweb has for this caller."""
    settings = current_service().settings
    if run.state is not RunState.FINISHED or not (settings.ohif_url and settings.dicomweb):
        return {}
    studies = [uid for uid in stored_runs().studies(run) if _is_visible(uid)]
    address = f"{settings.ohif_url.rstrip('/')}/viewer?StudyInstanceUIDs={','.join(studies)}"
    return {"ohif": address} if studies else {}


def _is_visible(study: str) -> bool:
    try:
        return bool(found(study))
    except StudyNotFound:
        return False


def _question(run: Run) -> dict[str, Any] | None:
    event = stored_runs().question(run)
    return None if event is None else event.data | {"sequence": event.sequence}
