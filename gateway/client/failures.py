"""What requests raises and what servers refuse, in the words of this package."""

from urllib.parse import urlsplit

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


def refused(response: requests.Response) -> Refused:
    """An answer with another status than 200, and when the server wants to be asked again."""
    headers = response.headers
    made = refusal(
        response.status_code,
        response.reason or "",
        headers.get("Content-Type", "").lower(),
        beginning(response),
        headers.get("X-Request-ID", ""),
    )
    asked = headers.get("Retry-After", "").strip()
    made.retry_after = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 7 else None
    return made


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
        return Unreachable(f"{where} is not an address of a gateway.")
    return Disconnected(f"{where} closed the connection before its answer was complete.")


def _never_connected(error: requests.RequestException) -> bool:
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def place(url: str) -> str:
    """Host and port of a URL, and nothing else in it."""
    try:
        split = urlsplit(url)
        return f"{split.hostname}:{split.port}" if split.port else split.hostname or url
    except ValueError:
        return "This URL"
