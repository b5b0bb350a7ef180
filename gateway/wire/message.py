"""A whole message, in pieces: its length before a byte is made, its bytes as they are read, and its events again."""

import secrets
from collections.abc import Callable, Generator, Iterable, Iterator
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
    """A part to send: ``chunks`` give exactly ``length`` bytes, and are asked for when all before them is sent."""

    headers: tuple[Field, ...]
    length: int
    chunks: Iterable[Bytes]

    @classmethod
    def named(cls, name: str, media_type: str, data: Bytes) -> Self:
        """A part with ``data`` in memory, called ``form-data; name="X"; filename="X"`` (RFC 7578 4.2)."""
        word = name.replace("\\", "\\\\").replace('"', "%22")
        disposition = f'form-data; name="{word}"; filename="{word}"'
        headers = (("Content-Disposition", disposition), ("Content-Type", media_type))
        return cls(headers, memoryview(data).nbytes, (data,))


def new_boundary() -> str:
    """A fresh boundary of 128 random bits in hexadecimal, which no sender can make occur inside a part."""
    return secrets.token_hex(16)


def content_length(boundary: str, parts: Iterable[OutgoingPart]) -> int:
    """Bytes that ``encode`` will give for the same parts; no chunk is asked for. Raises as ``encode`` does."""
    encoder = Encoder(boundary)
    total = 0
    for part in parts:
        total += len(encoder.send(Part(Headers(part.headers)))) + part.length + len(encoder.send(EndOfPart()))
    return total + len(encoder.send(EndOfMessage()))


def encode(boundary: str, parts: Iterable[OutgoingPart]) -> Iterator[bytes | memoryview]:
    """The message in pieces, none of them empty; framing between two parts' data comes in one piece.

    Raises BrokenBody for a bad boundary or header field, ValueError for no part or for chunks that are not ``length``
    bytes: a peer that was promised a Content-Length must not be given another.
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
    """The events of a whole message, the twin of ``encode``; data is valid until the next event is asked for.

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
        raise ValueError(f"A part promised {part.length} bytes and gave {count}")
