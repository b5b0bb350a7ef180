"""Server-sent events, read as they arrive (HTML Living Standard 9.2)."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gateway.client.errors import AnswerCorrupt
from gateway.contract.brief import Brief

LONGEST_EVENT = 1 << 20
"""Bytes of one event; the gateway sends texts and numbers of some KiB, and payloads by their own addresses."""
ENDED = ("finished", "refused", "failed", "cancelled")
"""States of a run that do not change any more."""


@dataclass(frozen=True, repr=False)
class StreamedEvent(Brief):
    """An event of a run: its number, its kind (``state``, ``progress``, ``log``, ``preview``, ``question``,
    ``partial``) and its members.
    """

    _shown = frozenset({"kind"})

    sequence: int
    kind: str
    data: dict[str, Any]

    @property
    def ends(self) -> bool:
        """True for the last event of a run."""
        return self.kind == "state" and self.data.get("state") in ENDED


def read_events(pieces: Iterable[bytes]) -> Iterator[StreamedEvent]:
    """Yield the events of a stream, without comments and incomplete ones. Raises AnswerCorrupt."""
    members: dict[str, str] = {}
    for line in _lines(pieces):
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            members[name] = f"{members['data']}\n{value}" if name == "data" and "data" in members else value
        elif "data" in members:
            yield _event(members)
            members = {}
        else:
            members = {}


def _event(members: dict[str, str]) -> StreamedEvent:
    try:
        data = json.loads(members["data"])
        return StreamedEvent(int(members.get("id", "")), members.get("event", ""), dict(data))
    except (ValueError, TypeError, RecursionError):
        raise AnswerCorrupt("The server's answer is not a stream of events.") from None


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest, size = b"", 0
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            size = size + len(line) if line.strip() else 0
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if size + len(rest) > LONGEST_EVENT:
            raise AnswerCorrupt("An event of the server is too long.")
