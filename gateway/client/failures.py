"""What requests raises and what servers refuse, in the words of this package."""

from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import NewConnectionError

from gateway.client.errors import ClientError, Disconnected, Refused, TimedOut, Unreachable, refusal

LONGEST_REFUSAL = 1 << 16
"""Bytes read of an error answer; a problem document has some hundred."""


def beginning(response: requests.Response, limit: int = LONGEST_REFUSAL) -> bytes:
    """The first bytes of a body, ``limit`` at most."""
    taken = bytearray()
    for piece in response.iter_content(LONGEST_REFUSAL):
        taken += piece
        if len(taken) >= limit:
            break
    return bytes(taken[:limit])


NOT_FOUND = ("Not Found", "The requested URL was not found")
"""How frameworks and proxies say that they know nothing of a route."""

STORE = ("studies", "results", "bundles", "preflight")
"""Routes of a study store, which a gateway may not have."""


def refused(response: requests.Response, route: str = "/") -> Refused:
    """An answer with another status than 200, and when the server wants to be asked again.

    A redirection is not followed: it would bring credentials and images where nobody meant them to go.
    """
    headers = response.headers
    if response.is_redirect:
        status, where = response.status_code, _origin(response.url, headers["Location"])
        detail = f"The server sends callers to {where}, which is not followed: give that address (status {status})"
        return Refused(detail, status=status, code=f"http-{status}")
    made = refusal(
        response.status_code,
        response.reason or "",
        headers.get("Content-Type", "").lower(),
        beginning(response),
        headers.get("X-Request-ID", ""),
    )
    if made.detail.startswith(NOT_FOUND):
        made = Refused(f"{_nothing_on(route)} (status 404)", status=404, code=made.code, request_id=made.request_id)
    asked = headers.get("Retry-After", "").strip()
    made.retry_after = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 7 else None
    return made


def _origin(asked: str, location: str) -> str:
    """Scheme, host and port of where a server points to."""
    try:
        url = urljoin(asked, location)
    except ValueError:
        return "another place"
    scheme = url.partition("://")[0]
    return f"{scheme}://{place(url)}" if scheme in ("http", "https") else "another place"


def _nothing_on(route: str) -> str:
    if route.strip("/").partition("/")[0] in STORE:
        return "There is no study store: the gateway has one where GATEWAY_STORE_FOLDER is set."
    return f"There is nothing on the route {route}. GET /docs lists the models of a gateway."


def failure(error: requests.RequestException, url: str) -> ClientError:
    """The same failure in the words of this module, without the credentials that a URL may hold."""
    where = place(url)
    if isinstance(error, requests.exceptions.ConnectTimeout) or _never_connected(error):
        return Unreachable(f"Cannot connect to {where}. Is a server running there?")
    if isinstance(error, requests.exceptions.SSLError):
        return Unreachable(f"{where} cannot be trusted: its TLS certificate or protocol was refused.")
    if isinstance(error, requests.Timeout):
        return TimedOut(f"{where} gave no answer in time.")
    if isinstance(error, ValueError):  # requests' own word for a URL that is none
        return Unreachable(f"{where} is not an address of a gateway: give a name, or http://name:port.")
    return Disconnected(f"{where} closed the connection before its answer was complete.")


def _never_connected(error: requests.RequestException) -> bool:
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def place(url: str) -> str:
    """Host and port of a URL, and nothing else in it."""
    try:
        split = urlsplit(url)
        name = split.hostname or ""
        port = f":{split.port}" if split.port else ""
    except ValueError:
        return "This"
    return f"[{name}]{port}" if ":" in name else f"{name}{port}" if name else "This"
