"""WADO-RS as a client (PS3.18 10.4): a multipart answer goes to a sink part by part, as it arrives."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from gateway.errors import BrokenBody, LimitExceeded, PeerFailed
from gateway.peers.peer import Check, FetchLimits, FetchTarget, InstanceSink
from gateway.peers.web_connection import WebConnection
from gateway.wire import Data, EndOfPart, Event, Limits, Part, decode, parse_options_header

if TYPE_CHECKING:
    import urllib3

DICOM_TYPE = "application/dicom"
ACCEPT = f'multipart/related; type="{DICOM_TYPE}"; transfer-syntax=*'
"""The stored bytes: without ``transfer-syntax`` a server transcodes to Explicit VR Little Endian (PS3.18 8.7.3.5.2)."""


def retrieve(
    connection: WebConnection, target: FetchTarget, sink: InstanceSink, limits: FetchLimits, check: Check
) -> int:
    """Pass the instances of ``target`` to ``sink``, and return how many. See ``Peer.fetch``."""
    with connection.get(connection.address.wado + _resource(target), ACCEPT, check) as response:
        pieces = _bounded(connection.pieces(response, check), limits)
        with closing(_events(connection, response, pieces, limits)) as events:
            return _pass(events, sink)


def _resource(target: FetchTarget) -> str:
    named = ("studies", target.study), ("series", target.series), ("instances", target.instance)
    return "".join(f"/{level}/{quote(uid, safe='')}" for level, uid in named if uid)


def _bounded(pieces: Iterable[bytes], limits: FetchLimits) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limits.max_bytes:
            raise LimitExceeded("max_body_bytes", limits.max_bytes, what="The study")
        yield piece


def _events(
    connection: WebConnection, response: "urllib3.BaseHTTPResponse", pieces: Iterable[bytes], limits: FetchLimits
) -> Generator[Event, None, None]:
    """Yield the events of the answer; raises PeerFailed for framing that is not RFC 2046's, and LimitExceeded."""
    name = connection.name
    try:
        media_type, options = parse_options_header(response.headers.get("Content-Type", ""))
        if media_type != "multipart/related" or "boundary" not in options:
            raise PeerFailed(f"The peer {name} does not answer with multipart/related, which alone was accepted.")
        yield from decode(options["boundary"], pieces, Limits(max_parts=limits.max_instances))
    except BrokenBody as error:
        detail = f"The answer of the peer {name} breaks off, or is not well-formed multipart/related."
        raise PeerFailed(detail, private=error.detail) from None
    except LimitExceeded as error:
        if error.members["limit"] == "max_parts":
            raise LimitExceeded("max_study_files", limits.max_instances, "files", what="The study") from None
        if error.members["limit"] == "max_body_bytes":
            raise
        raise PeerFailed(f"The peer {name} sends a part with an excessive header.") from None


def _pass(events: Iterable[Event], sink: InstanceSink) -> int:
    count = 0
    for event in events:
        match event:
            case Data(data):
                sink.write(data)
            case Part(headers):
                sink.begin_part(headers.get("Content-Type", DICOM_TYPE).partition(";")[0].strip().lower())
            case EndOfPart():
                sink.end()
                count += 1
    return count
