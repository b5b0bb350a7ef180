"""QIDO-RS as a client (PS3.18 10.6): pages until one brings nothing new."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from gateway.errors import PeerFailed, StudyNotFound
from gateway.peers.peer import UIDS, Check, Level, Match, PeerQuery
from gateway.peers.web_connection import WebConnection

PAGE = 500
"""Matches of one page; Orthanc sends 100 of them in 50 ms, and a page of ours has 1,000 at most."""
NOTHING_UID = "2.25.0"
"""A Study Instance UID that no study has: a UUID of zeros (PS3.5 B.2)."""

_RESOURCES: dict[Level, str] = {"study": "studies", "series": "series", "instance": "instances"}


def search(connection: WebConnection, query: PeerQuery, check: Check) -> Iterator[Match]:
    """Yield the matches of a query, each once. A peer that ignores ``offset`` sends no match twice to the caller."""
    tag, seen, offset = UIDS[query.level], set[str](), 0
    while len(seen) < query.limit:
        page = _page(connection, query, offset, check)
        new = [match for match in page if first(match, tag) not in seen]
        if not new:
            return
        for match in new[: query.limit - len(seen)]:
            if not (uid := first(match, tag)):
                raise PeerFailed(f"The peer {connection.name} sends a match without its UID ({tag}).")
            if uid not in seen:
                seen.add(uid)
                yield match
        offset += len(page)


def echo(connection: WebConnection) -> None:
    """Ask for a study that is nowhere: an answer shows the address, TLS and the credentials to be right."""
    query = PeerQuery(filters={"StudyInstanceUID": NOTHING_UID}, limit=1)
    _page(connection, query, 0, lambda: None)


def first(match: Match, tag: str) -> str:
    """Return the first value of an attribute as text, "" where the match has none."""
    values = match[tag].get("Value") if tag in match else None
    value = values[0] if isinstance(values, list) and values else ""
    return str(value) if isinstance(value, str | int | float) else ""


def _page(connection: WebConnection, query: PeerQuery, offset: int, check: Check) -> Sequence[Match]:
    parameters = [*query.filters.items(), *(("includefield", name) for name in query.fields)]
    parameters += [("limit", str(min(PAGE, query.limit))), *([("offset", str(offset))] if offset else [])]
    path = connection.address.qido + _resource(query)
    try:
        with connection.get(path, "application/dicom+json", check, parameters, (200, 204)) as response:
            return _matches(connection, connection.json(response, check))
    except StudyNotFound:  # some answer so where nothing matches
        return []


def _resource(query: PeerQuery) -> str:
    """Return the path of a query (PS3.18 table 10.6.1-1)."""
    study = f"/studies/{quote(query.study, safe='')}" if query.study else ""
    series = f"/series/{quote(query.series, safe='')}" if query.series and query.level == "instance" else ""
    return f"{study}{series}/{_RESOURCES[query.level]}"


def _matches(connection: WebConnection, answer: Any) -> Sequence[Match]:
    if answer is None:
        return []
    if not isinstance(answer, list) or not all(map(_is_match, answer)):
        raise PeerFailed(f"The peer {connection.name} does not answer with a list of matches (PS3.18 10.6.3).")
    return answer


def _is_match(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(element, dict) for element in value.values())
