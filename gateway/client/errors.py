"""Errors of a client.

ClientError
├── SourceUnreadable    a file of the study cannot be read, or changed while it was sent
│   └── StudyUnreadable files that look like a part of the study cannot be read; ``files`` names them
├── Unreachable         nothing listens there, or the name does not resolve
├── Disconnected        the connection broke
│   └── TimedOut        no answer arrived in time
├── Refused             the server answered with an error: its status, code, detail and request id
│   └── Conflict        it stores other bytes under the same SOP Instance UIDs
└── AnswerCorrupt       an answer cannot be trusted: it is truncated, miscounted, or has other bytes than were hashed
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import NewConnectionError

CONFLICT = "instance-conflict"
LONGEST_DETAIL = 500
"""Characters of a server's text that are shown on a terminal."""
TOO_LARGE = 413
PROXY = "A proxy before the gateway refuses this size: raise its limit, which is client_max_body_size in nginx."
"""The hint beside a 413 that is not the gateway's own."""


class ClientError(Exception):
    """The root; ``status`` is 0 without an HTTP answer. ``detail`` is one printable line."""

    def __init__(self, detail: str, *, status: int = 0, code: str = "", request_id: str = "") -> None:
        self.detail = one_line(detail)
        super().__init__(self.detail)
        self.status = status
        self.code = code
        self.request_id = request_id


class SourceUnreadable(ClientError):
    """A file to be sent cannot be read as it was measured."""


class Unreachable(ClientError):
    """A connection could not be made."""


class Disconnected(ClientError):
    """A connection ended before a complete answer."""


class TimedOut(Disconnected):
    """The caller's timeout passed without an answer."""


class Refused(ClientError):
    """The server answered with an error; ``retry_after`` in seconds, where it named a time to retry."""

    retry_after: float | None = None


class ConflictingInstance(NamedTuple):
    """A SOP Instance UID with two contents: the sha256 of the local file and of the gateway's."""

    sop_instance_uid: str
    local: str
    remote: str

    def __repr__(self) -> str:
        return f"<ConflictingInstance local={self.local[:12]}, remote={self.remote[:12]}>"


class Conflict(Refused):
    """The gateway has other bytes under SOP Instance UIDs of this study; ``conflicts`` has both digests of each."""

    def __init__(self, conflicts: Sequence[ConflictingInstance], *, request_id: str = "") -> None:
        first = conflicts[0]
        more = f", and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
        super().__init__(
            "The gateway stores another file of "
            f"SOP Instance UID {first.sop_instance_uid} (sha256 {first.remote[:12]}, here {first.local[:12]}){more}. "
            "Set on_conflict to keep or replace it (status 409)",
            status=409,
            code=CONFLICT,
            request_id=request_id,
        )
        self.conflicts = tuple(conflicts)


class AnswerCorrupt(ClientError):
    """The answer breaks the protocol, or does not match its hashes."""


def one_line(text: str) -> str:
    """Return a server's text as one line, cut to a length that a terminal can show."""
    return printable(" ".join(text.split()))[:LONGEST_DETAIL]


def counted(number: int, thing: str) -> str:
    """``1 file``, ``2 files``, ``2 boxes``."""
    return f"{number} {thing}{'' if number == 1 else 'es' if thing.endswith('x') else 's'}"


def printable(text: str) -> str:
    """Return ``text`` without control characters, which could otherwise control a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def refusal(status: int, reason: str, content_type: str, body: bytes, request_id: str) -> Refused:
    """Read an error answer: a problem document (RFC 9457) if it is one, else the first line of its text."""
    problem = _problem(content_type, body)
    detail = problem.get("detail") or problem.get("title") or _first_line(content_type, body) or reason or "no text"
    kind = str(problem.get("type", ""))
    code = f"http-{status}" if kind in ("", "about:blank") else kind.rpartition(":")[2]
    request_id = str(problem.get("request_id") or request_id)
    if code == CONFLICT and (conflicts := _conflicts(problem.get("conflicts"))):
        return Conflict(conflicts, request_id=one_line(request_id))
    if status == TOO_LARGE and not problem:
        detail += f". {PROXY}"
    return Refused(f"{detail} (status {status})", status=status, code=one_line(code), request_id=one_line(request_id))


def _conflicts(document: Any) -> list[ConflictingInstance]:
    entries = [entry for entry in document if isinstance(entry, dict)] if isinstance(document, list) else []
    return [
        ConflictingInstance(
            *(one_line(str(entry.get(name, ""))) for name in ("sop_instance_uid", "sha256", "existing"))
        )
        for entry in entries
    ]


def _problem(content_type: str, body: bytes) -> dict[str, Any]:
    if "json" not in content_type:
        return {}
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _first_line(content_type: str, body: bytes) -> str:
    if not content_type.startswith("text/plain"):
        return ""
    return next(iter(body.decode("utf-8", "replace").strip().splitlines()), "")


LONGEST_REFUSAL = 1 << 16
"""Bytes read of an error answer; a problem document has some hundred."""


def beginning(response: requests.Response, limit: int = LONGEST_REFUSAL) -> bytes:
    """Return the first bytes of a body, ``limit`` at most."""
    data = bytearray()
    for piece in response.iter_content(LONGEST_REFUSAL):
        data += piece
        if len(data) >= limit:
            break
    return bytes(data[:limit])


NOT_FOUND = ("No route has this path", "Not Found", "The requested URL was not found")
"""Texts of the gateway, of frameworks and of proxies for an unknown route."""

STORE = ("studies", "results", "bundles", "preflight", "runs")
"""Routes of a study store, which a gateway may not have."""


def refused(response: requests.Response, route: str = "/") -> Refused:
    """Return the error for a status other than 200, with the time at which to retry.

    A redirection is not followed: it would send credentials and images to an unintended server.
    """
    headers = response.headers
    if response.is_redirect:
        status, where = response.status_code, _origin(response.url, headers["Location"])
        detail = f"The server redirects to {where}, which is not followed: use that address (status {status})"
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


def _origin(requested: str, location: str) -> str:
    """Return scheme, host and port of a redirection."""
    try:
        url = urljoin(requested, location)
    except ValueError:
        return "another place"
    scheme = url.partition("://")[0]
    return f"{scheme}://{place(url)}" if scheme in ("http", "https") else "another place"


def _nothing_on(route: str) -> str:
    if route.strip("/").partition("/")[0] in STORE:
        return "The gateway has no study store: set GATEWAY_STORE_FOLDER on the server."
    return f"There is no model on the route {route}. GET /docs lists the models of a gateway."


def failure(error: requests.RequestException, url: str) -> ClientError:
    """Return the failure as an error of this module, without the credentials in a URL."""
    where = place(url)
    if isinstance(error, requests.exceptions.ConnectTimeout) or _never_connected(error):
        return Unreachable(f"Cannot connect to {where}. Is a server running there?")
    if isinstance(error, requests.exceptions.SSLError):
        return Unreachable(f"{where} cannot be trusted: its TLS certificate or protocol was refused.")
    if isinstance(error, requests.Timeout):
        return TimedOut(f"{where} gave no answer in time.")
    if isinstance(error, ValueError):  # raised by requests for an invalid URL
        return Unreachable(f"{where} is not an address of a gateway: use a name, or http://name:port.")
    return Disconnected(f"{where} closed the connection before its answer was complete.")


def _never_connected(error: requests.RequestException) -> bool:
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def place(url: str) -> str:
    """Return host and port of a URL alone."""
    try:
        split = urlsplit(url)
        name = split.hostname or ""
        port = f":{split.port}" if split.port else ""
    except ValueError:
        return "This"
    return f"[{name}]{port}" if ":" in name else f"{name}{port}" if name else "This"
