"""The subject of a peer's certificate, which the TLS handshake has verified."""

import socket

from gateway.access.certificates import subject


def subject_of(connection: socket.socket) -> str:
    """Return the subject as RFC 4514 writes it; "" without TLS or a certificate."""
    return subject({"gunicorn.socket": connection})
