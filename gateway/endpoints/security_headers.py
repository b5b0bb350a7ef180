"""Headers for browsers: what a page may do with a response, and which origins may send requests."""

from urllib.parse import urlsplit

import flask

SECURE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""On each answer that does not say otherwise: no guess at its type (Fetch), no address of ours told to others, and no
copy of a patient's answer in a cache (RFC 9111 5.2.2.5)."""
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For what is no page, and for our own pages that have none (Content Security Policy Level 3)."""
POLICED = {**SECURE, "Content-Security-Policy": POLICY}
ASKED_HEADERS = "Authorization, Content-Type, Prefer, Traceparent, X-API-Key, X-Request-ID, X-Request-Timeout"
TOLD_HEADERS = (
    "Age, Preference-Applied, Retry-After, Server-Timing, WWW-Authenticate, X-Digest-Algorithm, X-Gateway-Receipt, "
    "X-Request-ID, X-Request-Timeout"
)
METHODS = "GET, POST, PUT, DELETE, HEAD"
PREFLIGHT_SECONDS = 600
"""For which a browser remembers a preflight; Chromium's own upper bound is two hours."""


def secure(response: flask.Response) -> None:
    """Add what the view has not set. A page of the service's own keeps its scripts: it gets no policy of ours."""
    page = response.headers.get("Content-Type", "").lower().startswith("text/html")
    policed = not page or (flask.request.blueprint or "").startswith("gateway_")
    present = {name.lower() for name, _ in response.headers}  # one look at them all: each of theirs walks the list
    for name, value in (POLICED if policed else SECURE).items():
        if name.lower() not in present:
            response.headers.add(name, value)


class Origins:
    """The origins whose pages may ask from a browser (Fetch, 3.2); no cookies, so that no credentials are allowed."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for a word that is no origin (RFC 6454 6.2)."""
        self._allowed = {word.strip() for word in text.split(",") if word.strip()}
        for word in self._allowed - {"*"}:
            url = urlsplit(word)
            if url.scheme not in ("http", "https") or not url.netloc or word != f"{url.scheme}://{url.netloc}":
                raise ValueError("cors_origins (GATEWAY_CORS_ORIGINS) should be origins, such as https://viewer.org.")

    def preflight(self) -> flask.Response | None:
        """The answer to a browser that asks whether its page may ask, where it may; such a request has no key."""
        request = flask.request
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not (asks and self._allows()):
            return None
        headers = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": ASKED_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        return flask.Response(status=204, headers=headers)

    def add(self, response: flask.Response) -> None:
        """Let the page that asked read the answer, where it may."""
        if self._allowed:
            response.vary.add("Origin")
        if self._allows():
            response.headers["Access-Control-Allow-Origin"] = flask.request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = TOLD_HEADERS

    def _allows(self) -> bool:
        origin = flask.request.headers.get("Origin")
        return origin is not None and ("*" in self._allowed or origin in self._allowed)
