"""Requests that are signed with a secret key in the way of Backend.AI (HMAC-SHA256, its API since v4).

The signature covers method, target with query, Date, Host, media type and API version, and no byte of the body.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from gateway.errors import Unauthenticated

SKEW_SECONDS = 900.0
"""Seconds that the clock of a client may differ from this one, and for which a signature is remembered."""
NO_BODY = hashlib.sha256().hexdigest()
BINARY = "application/octet-stream"
SCHEME = "BackendAI"
ASK_SIGNATURE = "Sign the request with a key pair, as Backend.AI's client does."
_CREDENTIAL = re.compile(
    r"BackendAI +signMethod=HMAC-SHA256, *credential=(?P<access>[A-Za-z0-9_-]{1,64}):(?P<digest>[0-9a-f]{64})",
    re.ASCII,
)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Proof:
    """The credential of a signed request: the access key, and the signature in hexadecimal."""

    access_key: str
    signature: str

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> Self:
        """Read it from a WSGI request. Raises Unauthenticated where there is none, or another form of it."""
        text = str(environ.get("HTTP_AUTHORIZATION", "")).strip()
        match = _CREDENTIAL.fullmatch(text)
        if match is None:
            private = "a credential of another form" if text else "no signature"
            raise Unauthenticated(ASK_SIGNATURE, proof_given=bool(text), private=private, scheme=SCHEME)
        return cls(match["access"], match["digest"])

    @property
    def digest(self) -> str:
        """The sha256 by which the signature is remembered, in hexadecimal."""
        return hashlib.sha256(f"{self.access_key}:{self.signature}".encode()).hexdigest()


@dataclass(frozen=True)
class SignedHead:
    """What a signature covers, each as the client wrote it: ``target`` is path and query, ``date`` ISO 8601."""

    method: str
    target: str
    date: str
    host: str
    media_type: str
    version: str

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> Self:
        """Read it from a WSGI request; a request without Content-Type is signed as binary."""
        media_type = str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
        return cls(
            str(environ["REQUEST_METHOD"]),
            str(environ.get("RAW_URI", "")),
            str(environ.get("HTTP_DATE") or environ.get("HTTP_X_BACKENDAI_DATE", "")),
            str(environ.get("HTTP_HOST", "")),
            media_type or BINARY,
            str(environ.get("HTTP_X_BACKENDAI_VERSION", "")),
        )

    @property
    def time(self) -> datetime | None:
        """The date; None where it is no time with its zone."""
        try:
            moment = datetime.fromisoformat(self.date)
        except ValueError:
            return None
        return moment if moment.tzinfo is not None else None

    def is_fresh(self, now: datetime | None = None) -> bool:
        """Return True for a date within SKEW_SECONDS of ``now``."""
        moment = self.time
        return moment is not None and abs((moment - (now or datetime.now(UTC))).total_seconds()) <= SKEW_SECONDS

    def signature(self, secret_key: str) -> str:
        """Return the signature in hexadecimal. Raises ValueError for a date that is not one."""
        if (moment := self.time) is None:
            raise ValueError("The date is not a time with its zone.")
        fields = (
            *(self.method.upper(), self.target, self.date, f"host:{self.host}"),
            *(f"content-type:{self.media_type}", f"x-backendai-version:{self.version}", NO_BODY),
        )
        key = _hmac(_hmac(secret_key.encode(), moment.strftime("%Y%m%d")), self.host)
        return _hmac(key, "\n".join(fields)).hex()

    def is_signed_with(self, secret_key: str, signature: str, scheme: str) -> bool:
        """Compare a signature in constant time; a client that writes out a default port signs that too."""
        return any(hmac.compare_digest(each.signature(secret_key), signature) for each in self._hosts(scheme))

    def _hosts(self, scheme: str) -> Iterator[Self]:
        yield self
        if not re.search(r":\d+\Z", self.host):
            yield replace(self, host=f"{self.host}:{_PORTS.get(scheme, 80)}")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
