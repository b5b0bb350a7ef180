"""Answers for which the server reads no more of the request's body."""

import flask


def mark_complete(response: flask.Response) -> flask.Response:
    """Flask's hook after each request: tell the gateway's own worker about an answer that does not read the body.

    A stream may read the body while it is sent; a refusal and a response whose bytes are known do not.
    """
    mark = getattr(flask.request.environ.get("gunicorn.socket"), "mark_complete", None)
    if mark is not None and (response.status_code >= 400 or response.is_sequence):
        mark()
    return response
