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


def require_loadable(cfg: Any) -> None:
    """Raise SystemExit, in one line, for a certificate without its key or that does not load.

    gunicorn would listen, and each connection would fail.
    """
    if not cfg.is_ssl:
        return
    if not cfg.certfile:
        raise SystemExit("A keyfile needs a certfile: the certificate that the key belongs to.")
    key = cfg.keyfile or cfg.certfile
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cfg.certfile, cfg.keyfile, password=_refuse_password)
        if cfg.ca_certs:
            context.load_verify_locations(cfg.ca_certs)
    except ValueError as error:
        raise SystemExit(f"{key}: {error}") from None
    except ssl.SSLError as error:
        reason = f" ({error.reason})" if error.reason else ""
        raise SystemExit(
            f"The certificate in {cfg.certfile} does not load with the private key in {key}{reason}. "
            "Name the key of this certificate as keyfile, both in PEM."
        ) from None
    except OSError as error:
        raise SystemExit(f"{error.filename or cfg.certfile}: {error.strerror}") from None


def _refuse_password() -> str:
    raise ValueError("The private key is encrypted; a server cannot ask for its password. Decrypt it.")
