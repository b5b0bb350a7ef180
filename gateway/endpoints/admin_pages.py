"""``/admin/studies``: the operator's pages about studies that arrive, for callers with the role ``admin``.

They have no script. A browser signs in by Basic authentication (RFC 7617), with the caller's name and its key; it may
send that for pages of other sites too, so a change is accepted from the gateway's own pages alone.
"""

import base64
import hashlib
import logging
from collections.abc import Collection
from functools import cache
from importlib.resources import files
from typing import Any

import flask
from sqlalchemy import Connection

from gateway.access.authenticator import BASIC
from gateway.delivery.outcome_words import in_words
from gateway.endpoints.access_control import caller, caller_name, require
from gateway.endpoints.dicomweb.recorded import record, require_audit
from gateway.endpoints.foreign_pages import require_own_page
from gateway.endpoints.guarded_views import View, answering
from gateway.endpoints.problems import problem_response
from gateway.endpoints.store_views import moment, store_context
from gateway.errors import Forbidden, ParameterRefused, StudyNotFound, Unauthenticated
from gateway.studies import study_history
from gateway.studies.manifests import is_uid
from gateway.studies.round_rows import Round
from gateway.studies.study_history import Stage, StudyHistory

logger = logging.getLogger("gateway")

PAGE = 50
"""Rounds of one page."""
MAX_FORM = 4096
"""Bytes of a form: one id."""
POLICY = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
"""Beside the style of a page (Content Security Policy Level 3)."""
BUSY = (Stage.WORKING, Stage.ARRIVING)
WORDS = {
    Stage.ATTENTION: "waits for a person",
    Stage.WORKING: "working",
    Stage.ARRIVING: "arriving",
    Stage.UNTAKEN: "no rule took it",
    Stage.DONE: "done",
}
UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def add_admin_pages(app: flask.Flask, taken: Collection[str]) -> None:
    """Add the pages, except on paths that the service has ``taken``."""
    pages = flask.Blueprint("gateway_admin", __name__)
    for method, path, name, view in RULES:
        if path not in taken:
            pages.add_url_rule(path, name, answering(_for_operators(view)), methods=[method])
    app.register_blueprint(pages)


def _for_operators(view: View[...]) -> View[...]:
    """A view for the role ``admin``. A browser that has sent another caller's key is asked for one again."""

    def guarded(*args: Any, **kwargs: Any) -> flask.Response:
        try:
            require("admin")
        except Forbidden as error:
            if caller() is None or "HTTP_AUTHORIZATION" not in flask.request.environ:
                raise
            refusal = problem_response(Unauthenticated(error.detail, proof_given=True, private=error.private))
            refusal.headers.add("WWW-Authenticate", BASIC)
            return refusal
        return view(*args, **kwargs)

    return guarded


def _studies() -> flask.Response:
    name, before = flask.request.args.get("stage", ""), _before()
    if name and name not in list(Stage):
        raise ParameterRefused([("/stage", f"stage should be one of {', '.join(Stage)}.")])
    with store_context().store.index.reading() as connection:
        stage = Stage(name) if name else None
        found = study_history.recent(connection, PAGE + 1, stage=stage, before=before)
        numbers = study_history.stage_numbers(connection)
    shown = found[:PAGE]
    older = shown[-1].round.latest_at if len(found) > PAGE else None
    busy = before is None and any(numbers[stage] for stage in BUSY)
    return _page("admin_studies", rounds=shown, numbers=numbers, stage=name or None, older=older, busy=busy)


def _before() -> float | None:
    text = flask.request.args.get("before")
    try:
        return None if text is None else float(text)
    except ValueError:
        raise ParameterRefused([("/before", "before should be the number of a link of this page.")]) from None


def _study(uid: str) -> flask.Response:
    with store_context().store.index.reading() as connection:
        histories = _histories(connection, uid)
    rounds = [each for history in histories for each in history.rounds]
    waiting, busy = (any(each.stage in some for each in rounds) for some in ((Stage.ATTENTION,), BUSY))
    done = "It is tried again." if "again" in flask.request.args else ""
    return _page("admin_study", uid=uid, histories=histories, waiting=waiting, busy=busy, done=done)


def _histories(connection: Connection, uid: str) -> list[StudyHistory]:
    """Return a study as each caller has it. Raises StudyNotFound."""
    histories = study_history.of_study(connection, uid) if is_uid(uid) else []
    if not histories:
        raise StudyNotFound("No round of such a study is in the index.")
    return histories


def _retry(uid: str) -> flask.Response:
    require_own_page(flask.request.environ)
    require_audit()
    flask.request.max_content_length = MAX_FORM
    form, now = flask.request.form, store_context().store.clock()
    with store_context().store.index.writing() as connection:
        _histories(connection, uid)
        if "all" in form:
            done = study_history.retry_study(connection, uid, "", now)
        else:
            ids = form.getlist("routing"), form.getlist("delivery")
            done = study_history.retry(connection, now, routing_ids=ids[0], delivery_ids=ids[1])
    flask.current_app.extensions["gateway.routing"].wake()
    record("routing-retry", uid, routings=done.routings, deliveries=done.deliveries)
    sender = caller_name() or "anonymous"
    logger.info("%d rules and %d deliveries are tried again by %s", done.routings, done.deliveries, sender)
    return flask.Response(status=303, headers={"Location": flask.url_for(".study", uid=uid, again="1")})


def _page(name: str, **values: Any) -> flask.Response:
    source, policy = _source(name)
    now = store_context().store.clock()
    told: dict[str, Any] = {"moment": moment, "ago": lambda at: _ago(now - at), "senders": _senders, "said": in_words}
    page = flask.render_template_string(source, **values, words=WORDS, now=now, **told)
    # a form of this page states its origin (Fetch 3.2), which no-referrer would hide
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
    return flask.Response(page, headers=headers, content_type="text/html; charset=utf-8")


@cache
def _source(name: str) -> tuple[str, str]:
    """Return the template of a page, and its policy: its own style and its own forms, and nothing else."""
    pages = files("gateway.endpoints").joinpath("pages")
    style = "".join(pages.joinpath(f"{part}.css").read_text("utf-8") for part in ("shared", "admin"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"{POLICY}; style-src 'sha256-{digest}'"
    return pages.joinpath(f"{name}.html").read_text("utf-8").replace("/* style */", style), policy


def _ago(seconds: float) -> str:
    length, unit = next((each for each in UNITS if seconds >= 2 * each[0]), UNITS[-1])
    return f"{max(0, int(seconds / length))} {unit} ago"


def _senders(round: Round) -> str:
    return ", ".join(sender or "HTTP" for sender in round.senders)


RULES: tuple[tuple[str, str, str, View[...]], ...] = (
    ("GET", "/admin/studies", "studies", _studies),
    ("GET", "/admin/studies/<uid>", "study", _study),
    ("POST", "/admin/studies/<uid>/retry", "retry", _retry),
)
