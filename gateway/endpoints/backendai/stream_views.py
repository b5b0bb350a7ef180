"""The WebSocket of an execution (RFC 6455): ``GET /stream/session/<id>/execute``."""

import flask

from gateway.endpoints.backendai.door import door, session
from gateway.endpoints.backendai.execution_stream import ExecutionStream
from gateway.endpoints.backendai.websocket_frames import VERSION, accept_token
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule
from gateway.endpoints.waiting import converse
from gateway.errors import RequestError


def _stream(name: str) -> flask.Response:
    found, headers = session(name), flask.request.headers
    token = accept_token(headers.get("Sec-WebSocket-Key", ""))
    if headers.get("Sec-WebSocket-Version") != VERSION or token is None:
        raise RequestError(f"Open a WebSocket of version {VERSION} with a Sec-WebSocket-Key (RFC 6455 4.1).")
    stream = ExecutionStream(door().executions, found, current_service().settings.max_json_bytes)
    return converse(stream, "websocket", {"Sec-WebSocket-Accept": token})


RULES: tuple[Rule, ...] = (("GET", "/<name>/execute", _stream),)
