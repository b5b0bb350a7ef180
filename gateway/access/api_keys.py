"""API keys: high-entropy secrets, stored as their sha256 only."""

import hashlib
import hmac
import secrets
from pathlib import Path

from gateway.access.callers_file import CallerEntry, parse
from gateway.access.certificates import read
from gateway.access.reloading_file import ReloadingFile

PREFIX = "gw_"
"""Prefix by which a scanner for leaked secrets recognises a key."""
KEY_BYTES = 32
"""Random bytes in a key: 256 bits cannot be searched, so its stored form needs no slow hash."""


def new_key() -> str:
    """Return a new key of URL-safe characters, without a dot, which distinguishes it from a JWT."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def fingerprint(key: str) -> str:
    """Return the stored form of a key: its sha256 in hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class KeyRing:
    """The callers of one file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._file = ReloadingFile(path, parse)

    def check(self) -> None:
        """Read the file. Raises ValueError with a sentence where that fails."""
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

        Digests are compared, in constant time and all of them, so that the time reveals nothing about a key.
        """
        digest, owner = fingerprint(key), None
        for entry in self._entries():
            if hmac.compare_digest(entry.sha256, digest):
                owner = entry
        return owner

    def of_subject(self, subject: str) -> CallerEntry | None:
        """Return the caller whose certificate has this subject (RFC 4514). Raises Unavailable as ``of_key``."""
        name = read(subject)
        return next((entry for entry in self._entries() if entry.subject and read(entry.subject) == name), None)

    def of_name(self, name: str) -> CallerEntry | None:
        """Return the caller of the file with this name. Raises Unavailable as ``of_key``."""
        return next((entry for entry in self._entries() if entry.caller.name == name), None)

    def knows(self, name: str) -> bool:
        """Return True if a caller of the file has this name. Raises Unavailable when the file cannot be read."""
        return self.of_name(name) is not None

    def _entries(self) -> tuple[CallerEntry, ...]:
        return self._file.required("callers")
