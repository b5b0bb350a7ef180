"""Headers for browsers: what a page may do with a response, and which origins may send requests."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import flask

SECURE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Defaults of each response: no guess at its type (Fetch), no address of the gateway in a referrer, and no copy of a
patient's answer in a cache (RFC 9111 5.2.2.5)."""
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For responses other than pages, and for the gateway's pages without a policy (Content Security Policy Level 3)."""
POLICED = {**SECURE, "Content-Security-Policy": POLICY}
REQUEST_HEADERS = (
    "Authorization, Cache-Control, Content-Type, Inference-Header-Content-Length, Last-Event-ID, Prefer, Traceparent, "
    "Webhook, X-API-Key, X-Request-ID, X-Request-Timeout"
)
RESPONSE_HEADERS = (
    "Age, Content-Location, Inference-Header-Content-Length, Location, Preference-Applied, Retry-After, Server-Timing, "
    "WWW-Authenticate, X-Digest-Algorithm, X-Gateway-Receipt, X-Model, X-Model-Version, X-Request-ID, X-Request-Timeout"
)
METHODS = "GET, POST, PUT, DELETE, HEAD"
PREFLIGHT_SECONDS = 600
"""Seconds that a browser caches a preflight; Chromium's own maximum is two hours."""


def secure(response: flask.Response, own: Mapping[str, str]) -> None:
    """Add ``own`` headers, which replace the view's, and SECURE and POLICY, which do not.

    A service's own page gets no policy, so that its scripts run.
    """
    page = response.headers.get("Content-Type", "").lower().startswith("text/html")
    policed = not page or (flask.request.blueprint or "").startswith("gateway_")
    present = {name.lower() for name, _ in response.headers}  # one pass: each look-up in Headers searches the list
    for name, value in own.items():
        if name.lower() in present:
            response.headers.remove(name)
        response.headers.add(name, value)
    for name, value in (POLICED if policed else SECURE).items():
        if name.lower() not in present:
            response.headers.add(name, value)


class Origins:
    """The origins whose pages may send requests from a browser (Fetch 3.2). Credentials are not allowed."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for an invalid origin (RFC 6454 6.2)."""
        self._allowed = {word.strip() for word in text.split(",") if word.strip()}
        for word in self._allowed - {"*"}:
            url = urlsplit(word)
            if url.scheme not in ("http", "https") or not url.netloc or word != f"{url.scheme}://{url.netloc}":
                raise ValueError("cors_origins (GATEWAY_CORS_ORIGINS) should be origins, such as https://viewer.org.")

    def preflight(self, environ: dict[str, Any]) -> flask.Response | None:
        """Return the response to a browser's preflight of an allowed origin; such a request has no credentials."""
        asks = environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        if not (asks and self.allows(environ)):
            return None
        headers = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        return flask.Response(status=204, headers=headers)

    def add(self, response: flask.Response) -> None:
        """Allow the requesting page to read the response, if its origin is allowed."""
        if not self._allowed:
            return
        response.vary.add("Origin")
        environ = flask.request.environ
        if self.allows(environ):
            response.headers["Access-Control-Allow-Origin"] = environ["HTTP_ORIGIN"]
            response.headers["Access-Control-Expose-Headers"] = RESPONSE_HEADERS

    def allows(self, environ: dict[str, Any]) -> bool:
        """Return True if the page that sends this request has a configured origin."""
        origin = environ.get("HTTP_ORIGIN")
        return origin is not None and ("*" in self._allowed or origin in self._allowed)
