"""Files sent from the disk to the connection without a copy, where the server and the application allow it."""

from collections.abc import Callable

import flask

SendFile = Callable[[int, int, int], None]
"""Sends bytes of a file now: its descriptor, the first byte, and their number. Raises OSError."""


def file_sender() -> SendFile | None:
    """Return what sends files on the connection of this request; None where bytes have to pass through the server.

    Only the gateway's own worker has it, without TLS; middleware around ``wsgi_app`` has a right to see every byte.
    """
    if "wsgi_app" in vars(flask.current_app._get_current_object()):  # type: ignore[attr-defined]
        return None
    send: SendFile | None = getattr(flask.request.environ.get("gunicorn.socket"), "send_file", None)
    return send
