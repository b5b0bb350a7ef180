"""Signatures of Standard Webhooks (https://www.standardwebhooks.com), and the file of secrets.

A line of the file is an origin and a secret: ``https://hooks.example.org whsec_...``. Each receiver has a secret of its
own, since one that knew another's could sign in the gateway's name. Two lines of one origin give two signatures, while
a secret is replaced.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from gateway.access.reloading_file import ReloadingFile
from gateway.delivery.callbacks import allowed_origins

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)
"""Bytes of a secret, as the specification bounds them."""
NEW_SECRET_BYTES = 32
"""Bytes of a new secret, as many as sha256 has."""

Secrets = Mapping[str, Sequence[bytes]]


def new_secret() -> str:
    """Return a random secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(NEW_SECRET_BYTES)).decode()


def parse_secrets(data: bytes) -> Secrets:
    """Read the file of secrets. Raises ValueError with the number of a wrong line, and nothing of its text."""
    found: dict[str, list[bytes]] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            origin, secret = line.split()
            (origin,) = allowed_origins(origin)
            found.setdefault(origin, []).append(_key(secret))
        except ValueError:
            raise ValueError(
                f"The file of webhook secrets: line {number} should be an origin and a secret,"
                " such as https://hooks.example.org whsec_..., which `webhooks secret` writes."
            ) from None
    return found


def _key(secret: str) -> bytes:
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)  # binascii.Error is a ValueError
    if not secret.startswith(PREFIX) or len(key) not in SECRET_BYTES:
        raise ValueError
    return key


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of one message by one secret: HMAC-SHA256 over id, time and body."""
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


class SigningSecrets:
    """The secrets in a file, which is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._file = ReloadingFile(path, parse_secrets)

    def headers(self, origin: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the headers that sign a message to ``origin``.

        Raises OSError and ValueError for the file, and KeyError where it has no secret for the origin.
        """
        signatures = [signature(key, message_id, timestamp, body) for key in self._file.get()[origin]]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signatures),
        }

    def require(self, origins: Collection[str]) -> None:
        """Raise ValueError for a file that others may read, and for an origin without a secret."""
        path = self._file.path
        try:
            readable = path.stat().st_mode & 0o077
            lacking = sorted(set(origins) - self._file.get().keys())
        except OSError as error:
            raise ValueError(f"{path}, the file of webhook secrets, cannot be read: {error.strerror}.") from None
        if readable:
            raise ValueError(f"{path}, the file of webhook secrets, may be read by others: chmod 600.")
        if lacking:
            raise ValueError(f"{path} has no secret for {lacking[0]}: add one with `webhooks secret {lacking[0]}`.")
