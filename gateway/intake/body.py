"""The body of a request, piece by piece: never past its end, and never a short body as if it were whole."""

import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from gateway.config import KiB, Settings
from gateway.errors import BrokenBody, LimitExceeded, RequestStalled, UnsupportedMedia
from gateway.intake.admission import Ticket
from gateway.protocol.request import count_values
from gateway.wire import Event, Limits, decode, parse_options_header

READ_SIZE = 256 * KiB
"""Bytes asked for at once: few enough to stay in a core's cache while they are decoded and written."""


OCTETS = "application/octet-stream"
"""The media type of bytes that say themselves what they are."""


def content_length(environ: dict[str, Any]) -> int | None:
    """The announced length; None when there is none, or when it is chunked. Raises BrokenBody for no number."""
    text = environ.get("CONTENT_LENGTH") or ""
    if "chunked" in _coding(environ) or not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise BrokenBody("The Content-Length is not a number.")
    return int(text)


Piece = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Body:
    """A body to be read once: what its head says of it, and its pieces, each valid until the next."""

    content_type: str
    content_encoding: str
    length: int | None
    """Bytes; None where the head does not say."""
    pieces: Iterator[Piece]
    query: str = ""
    """The query of the request, where it has parameters of the model."""

    @classmethod
    def of(cls, environ: dict[str, Any], settings: Settings, ticket: Ticket, query: str = "") -> Self:
        """Return the body of a WSGI request (PEP 3333) that has a place.

        ``query`` is that of its address, where it has parameters of the model.
        Raises BrokenBody for a Content-Length that is not a number.
        """
        length = content_length(environ)
        encoding = environ.get("HTTP_CONTENT_ENCODING", "")
        pieces = body(environ, length, settings, ticket)
        return cls(environ.get("CONTENT_TYPE", ""), encoding, length, pieces, query)

    def media_type(self, settings: Settings) -> tuple[str, dict[str, str]]:
        """Return the media type and its parameters, once the head says nothing that is refused whatever the type.

        Raises UnsupportedMedia for a Content-Encoding, LimitExceeded, BrokenBody.
        """
        _refuse_encoding(self.content_encoding)
        found = parse_options_header(self.content_type)
        if self.length is not None and self.length > settings.max_body_bytes:
            raise LimitExceeded("max_body_bytes", settings.max_body_bytes, what="The body")
        return found


def body(
    environ: dict[str, Any],
    length: int | None,
    settings: Settings,
    ticket: Ticket | None = None,
    size: int = READ_SIZE,
) -> Iterator[Piece]:
    """The pieces of a body of ``length`` bytes, or up to the end that the server marks; each valid until the next.

    Each has ``size`` bytes at most; above READ_SIZE it is waited for until it is full. Raises BrokenBody when the body
    ends early or its chunks are malformed, RequestStalled when it comes too slowly, LimitExceeded at the head of a
    chunk that is larger than a whole body may be. The place of ``ticket`` is lent while a slow client is waited for.
    """
    if length is None and not ("chunked" in _coding(environ) and environ.get("wsgi.input_terminated")):
        length = 0  # no body (RFC 9112 6.3); a server that does not mark the end of a chunked one would block here
    _bound_chunks(environ["wsgi.input"], settings.max_body_bytes)
    source, received = _source(environ["wsgi.input"], size), 0
    lend_while_waiting(environ, ticket)
    try:
        while length is None or received < length:
            piece = _read(source, size if length is None else min(size, length - received))
            if not piece:
                break
            received += len(piece)
            yield piece
    finally:  # also where the client stalled: the response has a clock of its own
        lend_while_waiting(environ, None)
    if length is not None and received < length:
        raise BrokenBody(f"The body ended after {received} of {length} bytes; send it again.")


def _coding(environ: dict[str, Any]) -> str:
    return str(environ.get("HTTP_TRANSFER_ENCODING", "")).lower()


def lend_while_waiting(environ: dict[str, Any], ticket: Ticket | None) -> None:
    """From here on, lend the place of ``ticket`` while a slow client is waited for; None lends no place.

    Only the gateway's own worker does so; under other servers a request keeps its thread and its place.
    """
    transfer = getattr(environ.get("gunicorn.socket"), "transfer", None)
    if transfer is not None:
        transfer(ticket)


def limit_json_size(size: int, settings: Settings, what: str = "The JSON") -> None:
    """Check the bytes received of a JSON. Raises LimitExceeded."""
    if size > settings.max_json_bytes:
        raise LimitExceeded("max_json_bytes", settings.max_json_bytes, what=what)


def limit_json_values(text: bytes | bytearray, settings: Settings, what: str = "The JSON") -> None:
    """Check how many values a JSON holds, before it is parsed. Raises LimitExceeded.

    A parser lets no other thread run: 16 MiB of empty lists would take it seconds, and sixty times their bytes.
    """
    if count_values(text) > settings.max_json_values:
        raise LimitExceeded("max_json_values", settings.max_json_values, "values", what=what)


def _read(source: Any, size: int) -> Piece:
    try:
        piece: Piece = source.read(size)
        return piece
    except LimitExceeded:
        raise
    except TimeoutError as error:
        raise RequestStalled("The body stalled or came below the minimum rate; send it again.") from error
    except Exception as error:  # each server has its own for a broken connection or a malformed chunk
        detail = "The body ended early or its chunks are malformed; send it again."
        raise BrokenBody(detail, private=type(error).__name__) from error


def _bound_chunks(stream: Any, most: int) -> None:
    """Have gunicorn's reader of chunks refuse one of more than ``most`` bytes at its head, before a byte of it."""
    reader: Any = getattr(stream, "reader", None)
    if type(reader).__name__ != "ChunkedReader":
        return
    parse = reader.parse_chunk_size

    def bounded(*args: Any, **kwargs: Any) -> tuple[int, bytes | None]:
        size, rest = parse(*args, **kwargs)
        if size > most:
            raise LimitExceeded("max_body_bytes", most, what="A chunk of the body")
        return size, rest

    reader.parse_chunk_size = bounded


class _Direct:
    """gunicorn's body of known length, read from the socket without the four copies that its own reader makes."""

    def __init__(self, stream: Any, piece: int) -> None:
        self._piece = piece
        self._stream, self._reader = stream, stream.reader
        self._unreader = stream.reader.unreader

    def read(self, size: int) -> Piece:
        if held := self._stream.buf.tell():
            begun: bytes = self._stream.read(min(size, held))
            return begun
        if held := self._unreader.buf.getbuffer().nbytes:
            ahead: bytes = self._reader.read(min(size, held))  # the stream would ask for 1 KiB, and wait for it
            return ahead
        buffer, filled = _buffer(self._piece), 0
        while filled < size and (count := self._receive(buffer, filled, size)):
            filled += count
            if self._piece <= READ_SIZE:
                break
        self._reader.length -= filled  # what keep-alive goes by
        return buffer if filled == len(buffer) else memoryview(buffer)[:filled]

    def _receive(self, buffer: bytearray, start: int, end: int) -> int:
        count: int = self._unreader.sock.recv_into(memoryview(buffer)[start:], end - start)
        return count


_local = threading.local()


def _buffer(size: int) -> bytearray:
    """A buffer of this thread; it reads one request at a time, and fresh memory costs more than a copy."""
    buffers: dict[int, bytearray] = vars(_local).setdefault("buffers", {})
    return buffers.get(size) or buffers.setdefault(size, bytearray(size))


def _source(stream: Any, size: int) -> Any:
    """The fast way where the stream is exactly what we know; otherwise the stream itself."""
    names = [type(part).__name__ for part in (stream, getattr(stream, "reader", None))]
    unreader = getattr(getattr(stream, "reader", None), "unreader", None)
    known = names == ["Body", "LengthReader"] and type(unreader).__name__ == "SocketUnreader"
    return _Direct(stream, size) if known and type(stream).__module__ == "gunicorn.http.body" else stream


def read_json(environ: dict[str, Any], settings: Settings, ticket: Ticket | None = None) -> bytes:
    """A body of JSON; ``ticket`` is the request's place, if it has one.

    Raises UnsupportedMedia, LimitExceeded, BrokenBody, RequestStalled.
    """
    required_media_type(environ, "application/json")
    text = bytearray()
    for piece in body(environ, content_length(environ), settings, ticket):
        text += piece
        limit_json_size(len(text), settings)
    limit_json_values(text, settings)
    if ticket is not None:
        ticket.reclaim()
    return bytes(text)


def required_media_type(environ: dict[str, Any], wanted: str) -> dict[str, str]:
    """Return the parameters of the Content-Type, which should be ``wanted``. Raises UnsupportedMedia."""
    _refuse_encoding(environ.get("HTTP_CONTENT_ENCODING", ""))
    media_type, options = parse_options_header(environ.get("CONTENT_TYPE", ""))
    if media_type != wanted:
        raise UnsupportedMedia(f"Send {wanted} here.")
    return options


def required_octets(body: Body, settings: Settings) -> None:
    """Check that a body is plain bytes. Raises UnsupportedMedia, LimitExceeded."""
    if body.media_type(settings)[0] != OCTETS:
        raise UnsupportedMedia(f"Send {OCTETS} here.")


def _refuse_encoding(encoding: str) -> None:
    if encoding:
        raise UnsupportedMedia("Send the body without a Content-Encoding: digests are over the bytes as they are.")


def bounded(pieces: Iterable[Piece], settings: Settings) -> Iterator[Piece]:
    """Yield the pieces of a body within its limit. Raises LimitExceeded."""
    size, most = 0, settings.max_body_bytes
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise LimitExceeded("max_body_bytes", most, what="The body")
        yield piece


def multipart_events(
    pieces: Iterable[Piece], options: dict[str, str], settings: Settings, ticket: Ticket
) -> Generator[Event, None, None]:
    """Return the events of a multipart body, within the limits of its parts: use ``contextlib.closing``.

    ``options`` are those of its Content-Type. Raises BrokenBody, LimitExceeded.
    """
    if "boundary" not in options:
        raise BrokenBody("The Content-Type has no boundary parameter.")
    limits = Limits(settings.max_parts, settings.max_part_header_bytes, settings.max_part_headers)
    return decode(options["boundary"], pieces, limits, ticket.turn)
