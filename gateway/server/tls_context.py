"""TLS of a server: the certificate that gunicorn's settings name, read again while the server runs."""

import socket
import ssl
import time
from pathlib import Path
from typing import Any

from gunicorn.sock import ssl_context

from gateway.server.rate_limited_socket import RateLimitedTLSSocket

CERTIFICATE_AGE = 60.0
"""Seconds until the certificate is read again: a renewed one needs no restart."""

FILES = ("certfile", "keyfile", "ca_certs")
"""gunicorn's settings that name files of TLS."""


class ServerTLS:
    """The TLS context of one worker."""

    def __init__(self, cfg: Any, log: Any) -> None:
        self._cfg, self._log = cfg, log
        for name in FILES:
            if path := getattr(cfg, name):
                cfg.set(name, str(Path(path).absolute()))  # an application may change the working folder
        self._context: ssl.SSLContext | None = None
        self._read_at = 0.0

    def wrap(self, accepted: socket.socket) -> RateLimitedTLSSocket:
        """Return an accepted connection in TLS, its handshake not begun. Raises OSError."""
        wrapped = self.context().wrap_socket(
            accepted,
            server_side=True,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=self._cfg.suppress_ragged_eofs,
        )
        assert isinstance(wrapped, RateLimitedTLSSocket)
        return wrapped

    def context(self) -> ssl.SSLContext:
        """Return the context; an unreadable certificate leaves the last one in force. Raises OSError without one."""
        if self._context is None or time.monotonic() >= self._read_at + CERTIFICATE_AGE:
            self._read_at = time.monotonic()
            try:
                context = ssl_context(self._cfg)
            except OSError as error:
                self._log.error("The certificate cannot be read: %s", type(error).__name__)
                if self._context is None:
                    raise
            else:
                context.sslsocket_class = RateLimitedTLSSocket
                self._context = context
        return self._context
