"""The listening socket of the DICOM network, with and without TLS, until the process is told to stop."""

import logging
import selectors
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.dimse.provider import Provider

logger = logging.getLogger("gateway")

BACKLOG = 128
DRAIN_SECONDS = 30.0
"""How long associations may last when the process stops; gunicorn's graceful timeout."""


@dataclass(frozen=True)
class Certificates:
    """Files of TLS: the server's certificate and key, and the authority of its clients, without which it asks none."""

    certificate: Path
    key: Path | None = None
    clients: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context. Raises OSError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # BCP 195, as PS3.15 B.9 asks
        context.load_cert_chain(self.certificate, self.key)
        if self.clients is not None:
            context.load_verify_locations(self.clients)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def listen(host: str, port: int) -> socket.socket:
    """Bind. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=False)
    listener.setblocking(False)
    return listener


def serve(provider: Provider, listener: socket.socket, certificates: Certificates | None) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    with _stopped() as stopped:
        accept_until(stopped, provider, listener, certificates)
    logger.info("draining associations")
    provider.drain(DRAIN_SECONDS)


def accept_until(
    stopped: socket.socket, provider: Provider, listener: socket.socket, certificates: Certificates | None = None
) -> None:
    """Accept connections until ``stopped`` is readable, and close the listener."""
    context = certificates.context() if certificates is not None else None
    with selectors.DefaultSelector() as selector, listener:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(stopped, selectors.EVENT_READ)
        host, port = listener.getsockname()[:2]
        logger.info("listening for DICOM associations at %s, port %d, as %s", host, port, provider.title)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if stopped in ready:
                return
            _accept(provider, listener, context)


def _accept(provider: Provider, listener: socket.socket, context: ssl.SSLContext | None) -> None:
    try:
        connection, address = listener.accept()
    except (BlockingIOError, ConnectionError):
        return
    except OSError as error:  # EMFILE: the next one may find a descriptor
        logger.error("a connection was not accepted: %s", error.strerror)
        threading.Event().wait(0.1)
        return
    if not provider.takes(address[0]):
        provider.metrics.association("unknown-address")
        logger.info("association refused: unknown-address, %s", address[0])
        connection.close()
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if context is not None:
        connection.settimeout(provider.settings.head_timeout)
        connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    provider.serve(connection, address[0])


@contextmanager
def _stopped() -> Iterator[socket.socket]:
    """A socket that is readable once SIGTERM or SIGINT has been received."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    former = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in former.items():
            signal.signal(number, handler)
        reading.close()
        writing.close()
