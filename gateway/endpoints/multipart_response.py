"""An answer of protocol 1.0 as ``multipart/related``: its parts, its head, and its bytes in pieces a server takes."""

from collections.abc import Iterable, Iterator, Mapping

import flask

from gateway.config import KiB
from gateway.contract.requests import Result
from gateway.wire import OutgoingPart, content_length, encode, new_boundary

SEND_SIZE = 128 * KiB
"""Bytes handed to the server at once, few enough to be copied within the cache and the heap."""
SMALL = 64 * KiB
"""Pieces below this are joined: each one handed over costs a system call."""
DIGEST_HEADER = "X-Digest-Algorithm"
"""Names the algorithm behind the ``hashes`` part."""
HASHES_LENGTH = 129
"""``<input>:<output>``, two sha256 of 64 hexadecimal digits."""


def parts_of(result: Result, hashes: Iterable[bytes]) -> Iterator[OutgoingPart]:
    """The parts of an answer; ``hashes``, HASHES_LENGTH bytes, are asked for once all before them are sent."""
    yield _part("json-body", "application/json", memoryview(result.json_bytes))
    for index, part in enumerate(result.parts):
        yield _part(f"elem_{index}", part.media_type, part.data)
    yield OutgoingPart(_headers("hashes", "text/plain"), HASHES_LENGTH, hashes)


def hashes_of(input_digest: str, output_digest: str) -> bytes:
    """Return the text of the ``hashes`` part."""
    return f"{input_digest}:{output_digest}".encode("ascii")


def response(parts: Iterable[OutgoingPart], headers: Mapping[str, str]) -> flask.Response:
    """A response of known length, with ``headers`` beside those of its framing."""
    boundary, parts = new_boundary(), list(parts)
    framing = {
        "Content-Type": f"multipart/related; boundary={boundary}",
        "Content-Length": str(content_length(boundary, parts)),
    }
    return flask.Response(_coalesced(encode(boundary, parts)), headers={**framing, **headers})


def _part(name: str, media_type: str, data: memoryview) -> OutgoingPart:
    pieces = (data[start : start + SEND_SIZE] for start in range(0, len(data), SEND_SIZE))
    return OutgoingPart(_headers(name, media_type), len(data), pieces)


def _headers(name: str, media_type: str) -> tuple[tuple[str, str], ...]:
    return OutgoingPart.named(name, media_type, b"").headers


def _coalesced(pieces: Iterator[bytes | memoryview]) -> Iterator[bytes]:
    """The same bytes in fewer pieces, each of them ``bytes``, which is all that gunicorn takes."""
    pending = bytearray()
    for piece in pieces:
        if len(piece) < SMALL:
            pending += piece
            continue
        if pending:
            yield bytes(pending)
            pending.clear()
        yield bytes(piece)
    yield bytes(pending)
