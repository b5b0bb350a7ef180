"""Whole messages: their length in advance, their bytes in pieces, and their events."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Self

from gateway.wire.decoder import Decoder, Limits
from gateway.wire.encoder import Encoder
from gateway.wire.events import Data, EndOfMessage, EndOfPart, Event, Part
from gateway.wire.headers import Field, Headers

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class OutgoingPart:
    """A part to send: ``chunks`` have exactly ``length`` bytes, and are read once all bytes before them are sent."""

    headers: tuple[Field, ...]
    length: int
    chunks: Iterable[Bytes]

    @classmethod
    def named(cls, name: str, media_type: str, data: Bytes) -> Self:
        """Return a part with ``data`` in memory, named ``form-data; name="X"; filename="X"`` (RFC 7578 4.2)."""
        word = name.replace("\\", "\\\\").replace('"', "%22")
        disposition = f'form-data; name="{word}"; filename="{word}"'
        headers = (("Content-Disposition", disposition), ("Content-Type", media_type))
        return cls(headers, memoryview(data).nbytes, (data,))


def new_boundary() -> str:
    """Return a new boundary of 128 random bits in hexadecimal; no sender can predict it."""
    return os.urandom(16).hex()


def frame(boundary: str, parts: Iterable[OutgoingPart]) -> list[bytes]:
    """Return the bytes before each part, and behind the last; no chunk is read.

    Raises BrokenBody for a bad boundary or header field, ValueError without a part.
    """
    encoder, framing, end = Encoder(boundary), list[bytes](), b""
    for part in parts:
        framing.append(end + bytes(encoder.send(Part(Headers(part.headers)))))
        end = bytes(encoder.send(EndOfPart()))
    return [*framing, end + bytes(encoder.send(EndOfMessage()))]


def fill(framing: Sequence[bytes], parts: Iterable[OutgoingPart]) -> Iterator[bytes | memoryview]:
    """Yield a message in pieces, none of them empty, from what ``frame`` made for as many parts of the same headers.

    Raises ValueError for chunks that are not ``length`` bytes: the message must have the announced Content-Length.
    """
    for before, part in zip(framing, parts, strict=False):
        yield before
        yield from _checked(part)
    yield framing[-1]


def content_length(boundary: str, parts: Iterable[OutgoingPart]) -> int:
    """Return the number of bytes of ``encode`` for the same parts, without reading a chunk. Raises as ``encode``."""
    return sized(boundary, parts)[0]


def sized(boundary: str, parts: Iterable[OutgoingPart]) -> tuple[int, Iterator[bytes | memoryview]]:
    """Return ``content_length`` and ``encode`` of the same parts, whose framing is made once."""
    parts = list(parts)
    framing = frame(boundary, parts)
    return sum(map(len, framing)) + sum(part.length for part in parts), fill(framing, parts)


def encode(boundary: str, parts: Iterable[OutgoingPart]) -> Iterator[bytes | memoryview]:
    """Yield the message in pieces, none of them empty; the framing between two parts is one piece.

    Raises BrokenBody for a bad boundary or header field, ValueError without a part or for chunks that are not
    ``length`` bytes: the message must have the announced Content-Length.
    """
    encoder = Encoder(boundary)
    framing = b""
    for part in parts:
        yield framing + bytes(encoder.send(Part(Headers(part.headers))))
        for data in _checked(part):
            yield encoder.send(Data(data))
        framing = bytes(encoder.send(EndOfPart()))
    yield framing + bytes(encoder.send(EndOfMessage()))


def decode(
    boundary: str,
    pieces: Iterable[Bytes],
    limits: Limits | None = None,
    turn: Callable[[Bytes], AbstractContextManager[object]] = lambda _: nullcontext(),
) -> Generator[Event, None, None]:
    """Yield the events of a whole message, as the twin of ``encode``; data is valid until the next event.

    A piece is decoded, and its events are used, within ``turn(piece)``: use ``contextlib.closing``, which ends the turn
    where an event is refused. Raises BrokenBody, also for a message that ends early, and LimitExceeded.
    """
    decoder = Decoder(boundary, limits)
    for piece in pieces:
        with turn(piece):
            yield from decoder.receive(piece)
    decoder.close()


def _checked(part: OutgoingPart) -> Iterator[bytes | memoryview]:
    missing = part.length
    for chunk in part.chunks:
        view = memoryview(chunk)
        missing -= view.nbytes
        if missing < 0:
            break
        if view.nbytes:
            yield chunk if isinstance(chunk, bytes) else view.cast("B")
    if missing:
        count = "more" if missing < 0 else f"{missing} fewer"
        raise ValueError(f"A part announced {part.length} bytes and has {count}")
