"""Authentication of a caller: by an API key, a token, or the certificate of the connection."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.access.api_keys import KeyRing
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry
from gateway.access.certificates import subject
from gateway.config import Settings
from gateway.errors import Unauthenticated

if TYPE_CHECKING:
    from gateway.access.tokens import Tokens

ASK = "Send an API key or a token: Authorization: Bearer ..."


class Authenticator:
    """The credentials that the settings require of callers; ``on`` where they require any."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together, ImportError where tokens need PyJWT."""
        self._keys = KeyRing(settings.api_keys_file) if settings.api_keys_file else None
        self._tokens = _tokens(settings) if settings.jwt_jwks else None
        self.on = bool(self._keys or self._tokens)

    def check(self) -> None:
        """Read the file of callers before the first request. Raises ValueError with a sentence."""
        if self._keys:
            self._keys.check()

    def caller(self, environ: Mapping[str, Any]) -> Caller:
        """Return the caller of a request. Raises Unauthenticated; Unavailable while it cannot be identified."""
        proof = _proof(environ)
        if proof.count(".") == 2 and self._tokens:  # a JWT (RFC 7515 3.1); an API key has no dot
            return self._only_one(self._tokens.caller(proof))
        if proof:
            return _unexpired(self._keys.of_key(proof) if self._keys else None, "key")
        return self._of_certificate(environ)

    def _only_one(self, caller: Caller) -> Caller:
        """Return a caller by token, unless the file has its name: the store would mix the studies of the two."""
        if self._keys and self._keys.knows(caller.name):
            private = f"token: its sub is the caller {caller.name} of the file"
            raise Unauthenticated("The token is not accepted.", proof_given=True, private=private)
        return caller

    def _of_certificate(self, environ: Mapping[str, Any]) -> Caller:
        name = subject(environ) if self._keys else ""
        if not self._keys or not name:
            raise Unauthenticated(ASK, private="no proof")
        return _unexpired(self._keys.of_subject(name), "certificate")


def _tokens(settings: Settings) -> "Tokens":
    from gateway.access.tokens import Tokens  # PyJWT and cryptography, which API keys do not need

    return Tokens(settings)


def _proof(environ: Mapping[str, Any]) -> str:
    """Return the credential in the headers, "" without one. Raises Unauthenticated for two (RFC 6750 2)."""
    scheme, _, rest = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    bearer = rest.strip() if scheme.lower() == "bearer" else ""
    key = environ.get("HTTP_X_API_KEY", "").strip()
    if bearer and key and bearer != key:
        raise Unauthenticated("Send one key or token, not two.", proof_given=True, private="two proofs")
    return str(bearer or key)


def _unexpired(entry: CallerEntry | None, kind: str) -> Caller:
    if entry is None:
        raise Unauthenticated(f"The {kind} is not accepted.", proof_given=True, private=f"unknown {kind}")
    if entry.expired():
        private = f"expired {kind} of {entry.caller.name}"
        raise Unauthenticated(f"The {kind} has expired.", proof_given=True, private=private)
    return entry.caller
