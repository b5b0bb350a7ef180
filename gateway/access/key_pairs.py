"""The file of key pairs, which sign requests: each of a caller, with its rights.

``{"version": 1, "pairs": [{"name", "access_key", "secret_key", "roles", "routes", "expires"}]}``, one JSON file
(RFC 8259), mode 0600. A signature is checked with the secret itself, so the file has it, and the file of callers, which
has digests alone, does not.
"""

import json
import re
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.access.callers import Caller
from gateway.access.callers_file import caller_members, read_caller, read_entries, read_expiry
from gateway.access.file_changes import rewrite
from gateway.access.listeners import is_loopback
from gateway.access.reloading_file import ReloadingFile
from gateway.access.signed_requests import SCHEME, Proof, SignedHead
from gateway.errors import Forbidden, Unauthenticated

SECRET_BYTES = 32
"""Random bytes of a secret key: 256 bits, as many as the HMAC has."""
MEMBERS = frozenset({"name", "access_key", "secret_key", "roles", "routes", "expires"})
OTHERS = 0o077
_ACCESS, _SECRET = re.compile(r"[A-Za-z0-9_-]{16,64}"), re.compile(r"[!-~]{32,128}")
_UNKNOWN_SECRET = secrets.token_urlsafe(SECRET_BYTES)
_ALPHABET = string.ascii_uppercase + string.digits


@dataclass(frozen=True)
class KeyPair:
    """A key pair of a caller; ``expires`` carries its time zone."""

    caller: Caller
    access_key: str
    secret_key: str = field(repr=False)
    expires: datetime | None = None

    @classmethod
    def new(cls, caller: Caller, expires: datetime | None = None) -> "KeyPair":
        """Return a new pair, in the form of Backend.AI's: an access key of 20 letters and digits."""
        access_key = "AK" + "".join(secrets.choice(_ALPHABET) for _ in range(18))
        return cls(caller, access_key, secrets.token_urlsafe(SECRET_BYTES), expires)

    @property
    def expired(self) -> bool:
        """Return True if the pair has expired."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


def parse(data: bytes) -> tuple[KeyPair, ...]:
    """Read the file. Raises ValueError with a sentence that quotes nothing but the number of an entry."""
    pairs = read_entries(data, "pairs", _pair, "key pairs")
    if len({pair.access_key for pair in pairs}) < len(pairs):
        raise ValueError("The file of key pairs cannot be read: two pairs have one access key.")
    return pairs


def _pair(members: dict[str, Any]) -> KeyPair:
    access_key, secret_key = members["access_key"], members["secret_key"]
    if members.keys() - MEMBERS or not _ACCESS.fullmatch(access_key) or not _SECRET.fullmatch(secret_key):
        raise ValueError("an unknown member, or an invalid key")
    return KeyPair(read_caller(members), access_key, secret_key, read_expiry(members))


def dump(pairs: Sequence[KeyPair]) -> bytes:
    """Return the bytes of a file; the inverse of ``parse``."""
    entries = [
        caller_members(each.caller, each.expires, {"access_key": each.access_key, "secret_key": each.secret_key})
        for each in pairs
    ]
    return json.dumps({"version": 1, "pairs": entries}, indent=2).encode() + b"\n"


def change(path: Path, edit: Callable[[tuple[KeyPair, ...]], Sequence[KeyPair]]) -> None:
    """Rewrite the file; a missing one counts as empty. Raises OSError, ValueError, and what ``edit`` raises."""
    rewrite(path, lambda data: dump(edit(parse(data) if data else ())))


class KeyPairs:
    """The key pairs of one file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._file = ReloadingFile(path, parse)

    def check(self) -> None:
        """Read the file. Raises ValueError with a sentence where that fails, or where others may read it."""
        path = self._file.path
        try:
            self._file.get()
            if path.stat().st_mode & OTHERS:
                raise ValueError(f"{path} has secret keys, and others may read it: chmod 600 {path}")
        except FileNotFoundError:
            raise ValueError(
                f"There is no file of key pairs at {path}: python -m gateway key-pairs add NAME writes it."
            ) from None
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from error

    def caller(self, environ: Mapping[str, Any]) -> Caller:
        """Return the caller who signed a WSGI request. Raises Unauthenticated, Forbidden, Unavailable."""
        _require_private_way(environ)
        proof, head = Proof.of(environ), SignedHead.of(environ)
        if not head.is_fresh():
            raise _refused("The Date of the request is not within 15 minutes of the gateway's clock.", "an old date")
        pair = next((each for each in self._pairs() if each.access_key == proof.access_key), None)
        secret = _UNKNOWN_SECRET if pair is None else pair.secret_key  # as much work for an unknown key
        signed = head.is_signed_with(secret, proof.signature, str(environ["wsgi.url_scheme"]))
        if pair is None or not signed:
            raise _refused("The signature is not accepted.", "unknown access key" if pair is None else "a signature")
        if pair.expired:
            raise _refused("The key pair has expired.", f"expired key pair of {pair.caller.name}")
        return pair.caller

    def _pairs(self) -> tuple[KeyPair, ...]:
        return self._file.required("key pairs")


def _require_private_way(environ: Mapping[str, Any]) -> None:
    """Raise Forbidden unless nobody between can change the body, which no signature covers."""
    address = str(environ.get("REMOTE_ADDR", ""))
    if environ["wsgi.url_scheme"] != "https" and address and not is_loopback(address):
        raise Forbidden("Signed requests need TLS, or a client on this machine: their bodies are not signed.")


def _refused(detail: str, private: str) -> Unauthenticated:
    return Unauthenticated(detail, proof_given=True, private=private, scheme=SCHEME)
