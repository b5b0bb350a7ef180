"""API keys: high-entropy secrets, known here by their sha256 alone."""

import hashlib
import hmac
import secrets
from pathlib import Path

from gateway.access.callers_file import CallerEntry, parse
from gateway.access.certificates import read
from gateway.access.reloading_file import ReloadingFile
from gateway.errors import Unavailable

PREFIX = "gw_"
"""Lets a scanner for leaked secrets know a key where it sees one."""
KEY_BYTES = 32
"""Random bytes in a key: 256 bits, beyond any search, so that no slow hash is needed to keep them."""


def new_key() -> str:
    """A key that nobody has: URL-safe characters, and no dot, which tells it from a JWT."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def fingerprint(key: str) -> str:
    """The stored form of a key: its sha256 in hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class KeyRing:
    """The callers of one file, as it is now."""

    def __init__(self, path: Path) -> None:
        self._file = ReloadingFile(path, parse)

    def check(self) -> None:
        """Raises ValueError with a sentence where the file cannot be read."""
        try:
            self._file.get()
        except FileNotFoundError:
            raise ValueError(
                f"There is no file of callers at {self._file.path}: python -m gateway keys add NAME writes it."
            ) from None
        except OSError as error:
            raise ValueError(f"{self._file.path}: {error.strerror}") from error

    def of_key(self, key: str) -> CallerEntry | None:
        """Return the caller with this key, expired or not. Raises Unavailable when the file cannot be read.

        What is compared are digests, so that the time tells nothing of how a key begins; and each of them is
        compared in constant time, whether or not one was found before.
        """
        digest, owner = fingerprint(key), None
        for entry in self._entries():
            if hmac.compare_digest(entry.sha256, digest):
                owner = entry
        return owner

    def of_subject(self, subject: str) -> CallerEntry | None:
        """Whose certificate has this subject (RFC 4514). Raises Unavailable when the file cannot be read."""
        name = read(subject)
        return next((entry for entry in self._entries() if entry.subject and read(entry.subject) == name), None)

    def knows(self, name: str) -> bool:
        """Return True if a caller of the file has this name. Raises Unavailable when the file cannot be read."""
        return any(entry.caller.name == name for entry in self._entries())

    def _entries(self) -> tuple[CallerEntry, ...]:
        try:
            return self._file.get()
        except (OSError, ValueError) as error:
            raise Unavailable(
                "The gateway cannot read its file of callers now; its log has the reason.",
                private=f"{self._file.path}: {error.strerror if isinstance(error, OSError) else error}",
                retry_after=30,
            ) from error
