"""An answer of protocol 1.0 as ``multipart/related``: its parts, its head, and its bytes in pieces."""

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

import flask

from gateway.config import KiB
from gateway.contract.execution import Card
from gateway.contract.requests import Result
from gateway.wire import OutgoingPart, new_boundary, sized

SEND_SIZE = 128 * KiB
"""Bytes of one piece, few enough for copies within the cache and the heap."""
SMALL = 64 * KiB
"""Smaller pieces are joined: each one costs a system call."""
DIGEST_HEADER = "X-Digest-Algorithm"
"""The field that names the algorithm of the ``hashes`` part."""
MODEL_HEADER, MODEL_VERSION_HEADER = "X-Model", "X-Model-Version"
PRINTABLE = " !#$&'()*+,/:;=?@[]"
"""Characters that a field has as they are, beside letters and digits."""
HASHES_LENGTH = 129
"""``<input>:<output>``, two sha256 of 64 hexadecimal digits."""


def parts_of(result: Result, hashes: Iterable[bytes]) -> Iterator[OutgoingPart]:
    """Yield the parts of an answer; ``hashes``, HASHES_LENGTH bytes, are read once all before them are sent."""
    yield _part("json-body", "application/json", memoryview(result.json_bytes))
    for index, part in enumerate(result.parts):
        yield _part(f"elem_{index}", part.media_type, part.data)
    yield OutgoingPart(_headers("hashes", "text/plain"), HASHES_LENGTH, hashes)


def hashes_of(input_digest: str, output_digest: str) -> bytes:
    """Return the text of the ``hashes`` part."""
    return f"{input_digest}:{output_digest}".encode("ascii")


def model_fields(card: Card, route: str) -> dict[str, str]:
    """Return the fields with name and version of a typed model; other letters than ASCII are escaped."""
    fields = {MODEL_HEADER: card.name if card.name != route else "", MODEL_VERSION_HEADER: card.version}
    return {field: quote(text, safe=PRINTABLE) for field, text in fields.items() if text}


def response(parts: Iterable[OutgoingPart], headers: Mapping[str, str], boundary: str = "") -> flask.Response:
    """Return a response of known length, with ``headers`` besides those of its framing, and a new boundary for ""."""
    boundary = boundary or new_boundary()
    length, pieces = sized(boundary, parts)
    framing = {"Content-Type": f"multipart/related; boundary={boundary}", "Content-Length": str(length)}
    return flask.Response(coalesced(pieces), headers={**framing, **headers})


def _part(name: str, media_type: str, data: memoryview) -> OutgoingPart:
    pieces = (data[start : start + SEND_SIZE] for start in range(0, len(data), SEND_SIZE))
    return OutgoingPart(_headers(name, media_type), len(data), pieces)


def _headers(name: str, media_type: str) -> tuple[tuple[str, str], ...]:
    return OutgoingPart.named(name, media_type, b"").headers


def coalesced(pieces: Iterator[bytes | memoryview]) -> Iterator[bytes]:
    """Join small pieces; yield ``bytes``, the only type that gunicorn accepts."""
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
