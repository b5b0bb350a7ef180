"""Files go to the connection without a copy only where every byte may."""

import socket
from typing import Any

from gateway import Gateway
from gateway.endpoints.file_sending import file_sender
from gateway.server.rate_limited_socket import RateLimitedSocket


def sender(app: Gateway, connection: object) -> Any:
    with app.test_request_context(environ_overrides={"gunicorn.socket": connection}):
        return file_sender()


def test_files_are_sent_by_the_gateways_own_connections() -> None:
    with RateLimitedSocket() as own, socket.socket() as other:
        assert sender(Gateway(__name__), own) == own.send_file
        assert sender(Gateway(__name__), other) is None


def test_middleware_sees_every_byte() -> None:
    app = Gateway(__name__)
    inner = app.wsgi_app
    app.wsgi_app = lambda environ, start: inner(environ, start)
    with RateLimitedSocket() as own:
        assert sender(app, own) is None
