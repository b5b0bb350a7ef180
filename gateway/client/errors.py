"""What a caller of a gateway may meet.

ClientError
├── SourceUnreadable    a file of the study cannot be read, or changed while it was sent
│   └── StudyUnreadable files that look like a part of the study cannot be read; ``files`` names them
├── Unreachable         nothing listens there, or the name does not resolve
├── Disconnected        the connection broke
│   └── TimedOut        no answer came in time
├── Refused             the server answered with an error: its status, code, detail and request id
│   └── Conflict        it holds other bytes under the same SOP Instance UIDs
└── AnswerCorrupt       an answer came, and it cannot be trusted: truncated, miscounted, or other bytes than were hashed
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

CONFLICT = "instance-conflict"
LONGEST_DETAIL = 500
"""Characters of a server's text that are worth a line on a terminal."""


class ClientError(Exception):
    """The root; ``status`` is 0 where no HTTP answer came. ``detail`` is one printable line."""

    def __init__(self, detail: str, *, status: int = 0, code: str = "", request_id: str = "") -> None:
        self.detail = one_line(detail)
        super().__init__(self.detail)
        self.status = status
        self.code = code
        self.request_id = request_id


class SourceUnreadable(ClientError):
    """A file to be sent cannot be read as it was measured."""


class Unreachable(ClientError):
    """No connection could be made."""


class Disconnected(ClientError):
    """A connection was made and no whole answer came through it."""


class TimedOut(Disconnected):
    """No answer came in the time that the caller gave."""


class Refused(ClientError):
    """The server answered with a status other than 200; ``retry_after`` in seconds, where it said when to come back."""

    retry_after: float | None = None


class Clash(NamedTuple):
    """One SOP Instance UID with two contents: the sha256 of the file here, and of what the gateway holds."""

    sop_instance_uid: str
    here: str
    there: str


class Conflict(Refused):
    """The gateway holds other bytes under SOP Instance UIDs of this study; ``clashes`` names each with both digests."""

    def __init__(self, clashes: Sequence[Clash], *, request_id: str = "") -> None:
        first = clashes[0]
        more = f", and {len(clashes) - 1} more" if len(clashes) > 1 else ""
        super().__init__(
            f"The gateway holds another file of SOP Instance UID {first.sop_instance_uid} (sha256 {first.there[:12]}, "
            f"here {first.here[:12]}){more}. Keep its own or replace it: on_conflict (status 409)",
            status=409,
            code=CONFLICT,
            request_id=request_id,
        )
        self.clashes = tuple(clashes)


class AnswerCorrupt(ClientError):
    """The answer breaks the protocol, or does not match its hashes."""


def one_line(text: str) -> str:
    """A server's text as one line, cut to a length that a terminal can show."""
    return printable(" ".join(text.split()))[:LONGEST_DETAIL]


def counted(number: int, thing: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """``text`` without control characters, which could otherwise steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def refusal(status: int, reason: str, content_type: str, body: bytes, request_id: str) -> Refused:
    """Read an error answer: a problem document (RFC 9457) if it is one, else the first line of its text."""
    problem = _problem(content_type, body)
    detail = problem.get("detail") or problem.get("title") or _first_line(content_type, body) or reason or "no text"
    kind = str(problem.get("type", ""))
    code = f"http-{status}" if kind in ("", "about:blank") else kind.rpartition(":")[2]
    request_id = str(problem.get("request_id") or request_id)
    if code == CONFLICT and (clashes := _clashes(problem.get("conflicts"))):
        return Conflict(clashes, request_id=one_line(request_id))
    return Refused(f"{detail} (status {status})", status=status, code=one_line(code), request_id=one_line(request_id))


def _clashes(told: Any) -> list[Clash]:
    entries = [entry for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []
    return [
        Clash(*(one_line(str(entry.get(name, ""))) for name in ("sop_instance_uid", "sha256", "held")))
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
