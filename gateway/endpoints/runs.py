"""Runs over HTTP: submitted, waited for, watched, answered, cancelled and forgotten (docs/runs.md)."""

import json
import re
from collections.abc import Collection
from datetime import UTC, datetime

import flask

from gateway.endpoints.access_control import caller_name, refuse_foreign_form, require
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule, admission_ticket, answering
from gateway.endpoints.run_entries import PROBLEMS, entry_of, path_of, sent_webhooks, stored_runs, summary_of
from gateway.endpoints.run_feeds import BEGUN, ChangeFeed, EndFeed, EventFeed
from gateway.endpoints.store_views import page, paged, time_of
from gateway.endpoints.stored_answers import StoredAnswer, requested_form
from gateway.endpoints.timeouts import requested_timeout
from gateway.endpoints.waiting import defer, stream
from gateway.errors import ParameterRefused, RunNotFound, TooManyRequests, Unavailable
from gateway.intake.body import Body, read_json
from gateway.observe.audit.receipts import HEADER, PREFERENCE, header_of, is_wanted
from gateway.protocol.preferences import RESPOND_ASYNC, WAIT
from gateway.protocol.request import parse_json
from gateway.runs.lifecycle import RunState
from gateway.runs.rows import Run
from gateway.runs.submissions import Submission

SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
NUMBER = re.compile(r"[0-9]{1,18}")
APPLIED = "Preference-Applied"
NO_EVENT = 0
"""Less than the number of any event."""


def add_runs(app: flask.Flask, taken: Collection[str]) -> None:
    """Add the routes of runs, but for the paths that the service has ``taken``."""
    pages = flask.Blueprint("gateway_runs", __name__)
    for method, path, view in RULES:
        if path not in taken:
            pages.add_url_rule(path, f"{method} {path}".replace(".", " "), answering(view), methods=[method])
    app.register_blueprint(pages)


def respond_async(route: str, wait: float) -> flask.Response:
    """Answer a request for a model with its run, or with the model's answer where that takes at most ``wait`` seconds.

    Raises what ``Runs.submit`` raises.
    """
    run, _ = _submit(route, "")
    applied = RESPOND_ASYNC
    if not wait:
        return _preferred(_accepted(run, 202), applied)
    seconds = _bounded(wait)
    applied = f"{applied}, {WAIT}={seconds:g}"

    def answer() -> flask.Response:
        latest = stored_runs().get(run.caller, run.id)
        if not latest.state.ended:
            return _preferred(_accepted(latest, 202), applied)
        answered = _preferred(_answer(latest), applied)
        answered.headers["Content-Location"] = path_of(run)
        return answered

    try:
        return defer(EndFeed(stored_runs(), run), 0, seconds, answering(answer))
    except (TooManyRequests, Unavailable):  # as many answers wait as may; the run is there
        return answer()


def _preferred(response: flask.Response, applied: str) -> flask.Response:
    receipt = response.headers.get(APPLIED)
    response.headers[APPLIED] = f"{applied}, {receipt}" if receipt else applied
    response.vary.add("Prefer")
    return response


def _put(id: str) -> flask.Response:
    run, new = _submit(_route(), id)
    return _accepted(run, 201 if new else 200)


def _post() -> flask.Response:
    run, _ = _submit(_route(), "")
    return _accepted(run, 201)


def _route() -> str:
    route = flask.request.args.get("route", "")
    if not route:
        raise ParameterRefused([("/route", "route should be the route of a model, such as ?route=/tissue.")])
    return route


def _submit(route: str, id: str) -> tuple[Run, bool]:
    require("infer", route=route)
    refuse_foreign_form()
    environ, settings, webhooks = flask.request.environ, current_service().settings, sent_webhooks()
    callback = webhooks.required(environ.get("HTTP_WEBHOOK", ""))
    with admission_ticket() as ticket:
        submission = Submission(
            route=route,
            caller=caller_name(),
            body=Body.of(environ, settings, ticket, _parameters(environ.get("QUERY_STRING", ""))),
            id=id,
            accept=environ.get("HTTP_ACCEPT", ""),
            traceparent=environ.get("HTTP_TRACEPARENT", ""),
            no_cache="no-cache" in environ.get("HTTP_CACHE_CONTROL", "").lower(),
            timeout=requested_timeout(environ),
        )
        run, new = stored_runs().submit(submission, ticket)
    webhooks.register(run.key, callback)  # a client whose request broke off before repeats it
    return run, new


def _parameters(query: str) -> str:
    """Return a query without the route of the run: the parameters of the model."""
    return "&".join(field for field in query.split("&") if not field.startswith("route="))


def _list() -> flask.Response:
    require("read")
    args, (limit, after) = flask.request.args, page()
    state = args.get("state", "")
    if state and state not in list(RunState):
        raise ParameterRefused([("/state", f"state should be one of {', '.join(RunState)}.")])
    listed = stored_runs().page(
        caller_name(),
        state=state,
        route=args.get("route", ""),
        since=time_of("since") or 0.0,
        limit=limit + 1,
        after=after,
    )
    return paged("runs", [summary_of(run) for run in listed], limit, "id")


def _read(id: str) -> flask.Response:
    require("read")
    run, seconds = _run(id), _wait()
    if run.state.ended or seconds == 0 or flask.request.method == "HEAD":
        return flask.jsonify(entry_of(run))
    feed = ChangeFeed(stored_runs(), run)
    return defer(feed, _after(run.sequence), seconds, answering(lambda: flask.jsonify(entry_of(_run(id)))))


def _events(id: str) -> flask.Response:
    require("read")
    run, after = _run(id), _after(0)
    if run.state.ended and not stored_runs().events(run, after, 1):
        return flask.Response(status=204)  # an EventSource connects no more (HTML 9.2.2)
    feed = EventFeed(stored_runs(), run, flask.request.script_root)
    response = flask.Response() if flask.request.method == "HEAD" else stream(feed, after, begun=BEGUN)
    response.content_type = "text/event-stream"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would wait for more
    return response


def _payload(id: str, number: str) -> flask.Response:
    require("read")
    if not NUMBER.fullmatch(number):
        raise RunNotFound("The run has no such event.")
    media_type, data = stored_runs().payload(_run(id), int(number))
    return flask.Response(bytes(data), content_type=media_type)


def _result(id: str) -> flask.Response:
    require("read")
    return _answer(_run(id))


def _answer(run: Run) -> flask.Response:
    """Return the answer of a run in the form that the request accepts, or its problem.

    Raises NotAcceptable, RunNotReady, RunCancelled, RunGone, and as ``represent``.
    """
    if run.state in PROBLEMS:
        text = json.dumps(stored_runs().problem(run))
        return flask.Response(text, run.status, content_type="application/problem+json")
    form, runs = requested_form(), stored_runs()
    stored = runs.result(run.caller, run.id)
    answer = StoredAnswer(
        stored.result,
        stored.output_digest,
        stored.algorithm,
        run.route,
        datetime.fromtimestamp(run.created_at, UTC),
        lambda ticket: runs.files(run, stored, ticket),
        {"Age": str(stored.age)},
    )
    sent = answer.with_objects() if form.dicom else answer
    response = sent.response(form)
    wanted = is_wanted(flask.request.headers.get("Prefer", ""))
    if wanted and stored.receipt is not None and sent is answer:  # it is the receipt of what the model answered
        response.headers.update({HEADER: header_of(stored.receipt), APPLIED: PREFERENCE})
    response.vary.add("Prefer")
    return response


def _input(id: str) -> flask.Response:
    require("infer")
    run, asked = _run(id), flask.request.args.get("question")
    answer = parse_json(read_json(flask.request.environ, current_service().settings), None)
    question = None if asked is None else int(asked) if NUMBER.fullmatch(asked) else NO_EVENT
    return _accepted(stored_runs().answer(run.caller, run.id, answer, question), 202)


def _delete(id: str) -> flask.Response:
    only = flask.request.args.get("only", "")  # a run may end between a look and this request
    if only not in ("", "live", "ended"):
        raise ParameterRefused([("/only", "only should be live or ended.")])
    if only == "live" or (only != "ended" and not _run(id).state.ended):
        require("infer")
        return _accepted(stored_runs().cancel(caller_name(), id), 202)
    require("delete")
    stored_runs().forget(caller_name(), id)
    return flask.Response(status=204)


def _run(id: str) -> Run:
    return stored_runs().get(caller_name(), id)


def _wait() -> float:
    text = flask.request.args.get("wait", "0")
    if not SECONDS.fullmatch(text):
        raise ParameterRefused([("/wait", "wait should be a number of seconds, such as 30.")])
    return _bounded(float(text))


def _bounded(seconds: float) -> float:
    return min(seconds, current_service().settings.run_wait)


def _after(default: int) -> int:
    """Return the number of the last event that the client knows."""
    text = flask.request.headers.get("Last-Event-ID") or flask.request.args.get("after")
    if text is None:
        return default
    if not NUMBER.fullmatch(text):
        raise ParameterRefused([("/after", "after, and Last-Event-ID, should be the number of an event.")])
    return int(text)


def _accepted(run: Run, status: int) -> flask.Response:
    response = flask.jsonify(entry_of(run))
    response.status_code = status
    response.headers["Location"] = path_of(run)
    return response


RULES: tuple[Rule, ...] = (
    ("POST", "/runs", _post),
    ("GET", "/runs", _list),
    ("PUT", "/runs/<id>", _put),
    ("GET", "/runs/<id>", _read),
    ("GET", "/runs/<id>/events", _events),
    ("GET", "/runs/<id>/events/<number>", _payload),
    ("GET", "/runs/<id>/result", _result),
    ("POST", "/runs/<id>/input", _input),
    ("DELETE", "/runs/<id>", _delete),
)
