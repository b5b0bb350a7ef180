"""Logins of browsers: a key or token becomes a short-lived cookie, which pictures and event streams send by themselves.

A cookie for a key is ``<name>~<expiry>~<signature>``, without the key. The signature is keyed by a secret of the server
and by the stored digest of the key: nothing has to be stored, every worker accepts it, and removing the caller or
giving it another key ends it. A token (RFC 7519) is its own proof with its own expiry, and is the cookie itself.

A browser adds a cookie to what any page sends. ``SameSite=Strict`` keeps it from those of other sites, and whatever
changes something needs a second value, which only a page of the gateway can read (``csrf_of``).
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gateway.access.api_keys import KeyRing
from gateway.access.callers_file import CallerEntry
from gateway.errors import Forbidden, Unauthenticated

COOKIE = "gateway_ui"
CSRF_KEY = "HTTP_X_CSRF_TOKEN"
"""The WSGI key of the header that has the value of ``csrf_of``."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 9.2.1)."""
SEPARATOR = "~"
LONGEST = 4096
"""Characters of a cookie that are read; browsers store no longer one (RFC 6265 6.1)."""
SHORTEST_SECRET = 32
"""Bytes of a secret of the operator."""


class Login(NamedTuple):
    """A cookie and the seconds for which a browser keeps it."""

    cookie: str
    seconds: int


class BrowserLogins:
    """Makes and reads the cookies of one server."""

    def __init__(self, secret: bytes, seconds: float) -> None:
        """``secret`` is known to the processes of this server alone; ``seconds`` is how long a login lasts."""
        self._secret, self._seconds = secret, int(seconds)

    def of_entry(self, entry: CallerEntry, now: float | None = None) -> Login:
        """Return the cookie of a caller of the file, which ends with its key."""
        now = time.time() if now is None else now
        until = now + self._seconds
        if entry.expires is not None:
            until = min(until, entry.expires.timestamp())
        words = f"{entry.caller.name}{SEPARATOR}{int(until)}"
        return Login(f"{words}{SEPARATOR}{self._signature(words, entry.sha256)}", max(0, int(until - now)))

    def of_token(self, token: str) -> Login:
        """Return the cookie of a token that was accepted. Raises Forbidden for one that is too long for a browser."""
        if len(token) > LONGEST - 64:
            raise Forbidden("The token is too long for a cookie; use an API key in a browser.")
        return Login(token, self._seconds)

    def entry_of(self, cookie: str, keys: KeyRing, now: float | None = None) -> CallerEntry:
        """Return the caller of the file whose cookie this is. Raises Unauthenticated; Unavailable as ``KeyRing``."""
        words, _, signature = cookie.rpartition(SEPARATOR)
        name, _, until = words.partition(SEPARATOR)
        entry = keys.of_name(name)
        if entry is None or not entry.sha256:
            raise _ended("a cookie of no caller")
        if not hmac.compare_digest(signature.encode(), self._signature(words, entry.sha256).encode()):
            raise _ended("a forged cookie, or one of another key or server")
        if int(until) <= (time.time() if now is None else now):  # it is signed, so it is a number
            raise _ended("an expired cookie")
        return entry

    def csrf_of(self, cookie: str) -> str:
        """Return the value that a page sends beside a cookie with each request that changes something."""
        return hmac.new(self._secret, b"csrf" + cookie.encode(), hashlib.sha256).hexdigest()

    def check_csrf(self, cookie: str, environ: Mapping[str, Any]) -> None:
        """Require that value where the method of a request is not safe. Raises Forbidden."""
        stated = str(environ.get(CSRF_KEY, ""))
        if environ["REQUEST_METHOD"] in SAFE or hmac.compare_digest(stated.encode(), self.csrf_of(cookie).encode()):
            return
        raise Forbidden("A request with the cookie of /ui needs X-CSRF-Token, which /ui/config states.")

    def _signature(self, words: str, digest: str) -> str:
        return hmac.new(self._secret + bytes.fromhex(digest), words.encode(), hashlib.sha256).hexdigest()


def cookie_of(environ: Mapping[str, Any]) -> str:
    """Return the cookie of a request, "" without one."""
    text = str(environ.get("HTTP_COOKIE", ""))
    if COOKIE not in text:
        return ""
    for piece in text.split(";"):  # a broken cookie of somebody else hides none
        name, _, value = piece.strip().partition("=")
        if name == COOKIE and len(value) <= LONGEST and value.isascii():
            return value
    return ""


def secret_of(path: Path | None, own: bytes) -> bytes:
    """Return the secret in an operator's file, where there is one, else the server's ``own``. Raises ValueError."""
    if path is None:
        return own
    try:
        secret = path.read_bytes()
    except OSError as error:
        raise ValueError(f"ui_secret_file (GATEWAY_UI_SECRET_FILE): {error.strerror}.") from error
    if len(secret) < SHORTEST_SECRET or not secret.strip():
        raise ValueError(f"ui_secret_file (GATEWAY_UI_SECRET_FILE) should hold {SHORTEST_SECRET} bytes or more.")
    return hashlib.sha256(secret.strip()).digest()  # an editor ends a file with a newline


def _ended(private: str) -> Unauthenticated:
    return Unauthenticated("The login has ended; log in again.", proof_given=True, private=private)
