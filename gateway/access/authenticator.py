"""Authentication of a caller: by an API key, a token, the certificate of the connection, or a signature."""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.access.api_keys import KeyRing
from gateway.access.browser_logins import BrowserLogins, Login, cookie_of
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry
from gateway.access.certificates import subject
from gateway.access.key_pairs import KeyPairs
from gateway.config import Settings
from gateway.errors import Unauthenticated

if TYPE_CHECKING:
    from gateway.access.tokens import Tokens

DICOMWEB_BELOW, ADMIN_BELOW = "/dicomweb/", "/admin/"
BASIC = 'Basic realm="gateway administration", charset="UTF-8"'
"""The challenge below ``/admin`` (RFC 7617 2)."""
SIGNED_BELOW = "/backendai"
ASK = "Send an API key or a token: Authorization: Bearer ..."


class Authenticator:
    """The credentials that the settings require of callers; ``on`` where they require any."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together, ImportError where tokens need PyJWT."""
        self._keys = KeyRing(settings.api_keys_file) if settings.api_keys_file else None
        self._tokens = _tokens(settings) if settings.jwt_jwks else None
        self._pairs = KeyPairs(settings.backendai_keys) if settings.backendai_keys else None
        self._dicomweb = settings.dicomweb
        self._logins: BrowserLogins | None = None
        self.on = bool(self._keys or self._tokens)

    def accept_logins(self, logins: BrowserLogins) -> None:
        """Accept the cookies of browsers that have logged in, where callers need a credential."""
        self._logins = logins

    def check(self) -> None:
        """Read the files of callers and key pairs before the first request. Raises ValueError with a sentence."""
        if self._keys:
            self._keys.check()
        if self._pairs:
            self._pairs.check()

    def requires(self, environ: Mapping[str, Any]) -> bool:
        """Return True for a request that needs a credential: each where there are any, else those to be signed."""
        return self.on or self._signed(environ) is not None

    def caller(self, environ: Mapping[str, Any]) -> Caller:
        """Return the caller of a request. Raises Unauthenticated; Unavailable while it cannot be identified."""
        if (pairs := self._signed(environ)) is not None:
            return pairs.caller(environ)
        user, proof = self._credential(environ)
        if not proof and self._logins is not None and (cookie := cookie_of(environ)):
            self._logins.check_csrf(cookie, environ)
            return self._by_cookie(cookie, self._logins)
        return _of_name(user, self._by_proof(environ, proof))

    def log_in(self, proof: str) -> Login:
        """Return the cookie for a key or a token. Raises Unauthenticated for an invalid one; Unavailable."""
        if self._logins is None or not proof:
            raise Unauthenticated(ASK, private="no proof")
        if self._is_token(proof):
            self._by_proof({}, proof)
            return self._logins.of_token(proof)
        entry = self._keys.of_key(proof) if self._keys else None
        _unexpired(entry, "key")
        assert entry is not None
        return self._logins.of_entry(entry)

    def csrf_of(self, environ: Mapping[str, Any]) -> str:
        """Return the value that a page sends beside its cookie with what changes something; "" without a cookie."""
        cookie = cookie_of(environ)
        return self._logins.csrf_of(cookie) if self._logins and cookie else ""

    def _by_cookie(self, cookie: str, logins: BrowserLogins) -> Caller:
        if self._is_token(cookie):
            return self._by_proof({}, cookie)
        if self._keys is None:
            raise Unauthenticated(ASK, private="a cookie without a file of callers")
        return _unexpired(logins.entry_of(cookie, self._keys), "key")

    def _is_token(self, proof: str) -> bool:
        return proof.count(".") == 2 and self._tokens is not None  # a JWT (RFC 7515 3.1); an API key has no dot

    def _credential(self, environ: Mapping[str, Any]) -> tuple[str, str]:
        """Return the user name, "" without one, and the key or token of a request. Raises Unauthenticated."""
        basic = _basic(environ) if self._takes_basic(environ) else None
        return basic or ("", _proof(environ))

    def _takes_basic(self, environ: Mapping[str, Any]) -> bool:
        """Return True where clients speak Basic alone (RFC 7617): PACS below ``/dicomweb``, browsers below ``/admin``.

        A challenge asks for it below ``/admin`` alone, where forms of other sites' pages are refused: a browser
        remembers a password, and sends it for any page.
        """
        path = str(environ.get("PATH_INFO", ""))
        return path.startswith(ADMIN_BELOW) or (self._dicomweb and path.startswith(DICOMWEB_BELOW))

    def _signed(self, environ: Mapping[str, Any]) -> KeyPairs | None:
        """Return the key pairs for a request below ``/backendai``, where its clients sign and send no other proof."""
        return self._pairs if f"{environ.get('PATH_INFO', '')}/".startswith(f"{SIGNED_BELOW}/") else None

    def _by_proof(self, environ: Mapping[str, Any], proof: str) -> Caller:
        if self._tokens is not None and self._is_token(proof):
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
    """Return the credential in the headers, "" without one. Raises Unauthenticated for two (RFC 6750 2).

    That of Dapr counts where there is no other: a sidecar adds its own (``APP_API_TOKEN``) to its callers'.
    """
    scheme, _, rest = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    bearer = rest.strip() if scheme.lower() == "bearer" else ""
    key = environ.get("HTTP_X_API_KEY", "").strip()
    if bearer and key and bearer != key:
        raise Unauthenticated("Send one key or token, not two.", proof_given=True, private="two proofs")
    return str(bearer or key or environ.get("HTTP_DAPR_API_TOKEN", "").strip())


def _basic(environ: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return user name and password of Basic credentials, None without any. Raises Unauthenticated for broken ones."""
    scheme, _, rest = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except ValueError:
        user, colon, password = "", "", ""
    if not colon or not user or not password:
        detail = "Send the caller's name as user and its key or token as password."
        raise Unauthenticated(detail, proof_given=True, private="broken Basic credentials")
    return user, password


def _of_name(user: str, caller: Caller) -> Caller:
    """Return a caller whose name is that of the Basic credentials, where there are any. Raises Unauthenticated."""
    if user and user != caller.name:
        private = f"Basic credentials with another user name than {caller.name}"
        raise Unauthenticated("The key is not accepted for this user.", proof_given=True, private=private)
    return caller


def _unexpired(entry: CallerEntry | None, kind: str) -> Caller:
    if entry is None:
        raise Unauthenticated(f"The {kind} is not accepted.", proof_given=True, private=f"unknown {kind}")
    if entry.expired():
        private = f"expired {kind} of {entry.caller.name}"
        raise Unauthenticated(f"The {kind} has expired.", proof_given=True, private=private)
    return entry.caller
