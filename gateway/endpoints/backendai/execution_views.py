"""Executions over HTTP: each request is answered with what is new, within some seconds."""

from typing import Any

import flask

from gateway.adapters.backendai.execution_words import CONTINUED, FINISHED, ExecuteRequest, ExecutionResult
from gateway.endpoints.backendai.compute_sessions import ComputeSession
from gateway.endpoints.backendai.door import door, session, words
from gateway.endpoints.guarded_views import Rule, answering
from gateway.endpoints.run_feeds import EndFeed
from gateway.endpoints.waiting import defer
from gateway.errors import TooManyRequests, Unavailable
from gateway.runs.rows import RunEvent

POLL_SECONDS = 2.0
"""Seconds that an answer waits for news of a run: as long as Backend.AI's server takes."""


class NewsFeed(EndFeed):
    """Ends with the next event, and sends nothing."""

    def ends(self, event: RunEvent) -> bool:
        """Return True: each event is news."""
        return True


def _execute(name: str) -> flask.Response:
    found, request = session(name), ExecuteRequest.of(words())
    if request.mode == "complete":
        return _answer(ExecutionResult(request.run_id, FINISHED), completions=[])
    executions = door().executions
    if request.mode in ("query", "batch"):
        result = executions.begin(found, request)
    elif request.mode == "input":
        result = executions.answer(found, request.run_id, request.code)
    else:
        result = executions.proceed(found, request.run_id)
    return _awaited(found, result)


def _awaited(found: ComputeSession, result: ExecutionResult) -> flask.Response:
    """Return a result; one without news waits for some, without a thread."""
    executions = door().executions
    place = None if result.status != CONTINUED or result.console else executions.place(found, result.run_id)
    if place is None:
        return _answer(result)
    run, after = place

    def answer() -> flask.Response:
        return _answer(executions.proceed(found, result.run_id))

    try:
        return defer(NewsFeed(executions.runs, run), after, POLL_SECONDS, answering(answer))
    except (TooManyRequests, Unavailable):  # as many answers wait as may
        return _answer(result)


def _answer(result: ExecutionResult, **more: Any) -> flask.Response:
    return flask.jsonify({"result": result.words | more})


RULES: tuple[Rule, ...] = (("POST", "/<name>", _execute),)
