"""Feed a decoder in pieces and join its events, checking their order."""

from collections.abc import Iterable, Iterator

from gateway.wire import Data, Decoder, EndOfMessage, EndOfPart, Event, Limits, Part

ReadPart = tuple[list[list[str]], bytes]
"""Header fields as ``[name, value]``, and the data."""

Piece = bytes | bytearray | memoryview


def read(boundary: str, pieces: Iterable[Piece], limits: Limits | None = None) -> list[ReadPart]:
    """All parts of one message, which must be complete."""
    decoder = Decoder(boundary, limits)
    events = [event for piece in pieces for event in decoder.receive(piece)]
    decoder.close()
    return list(assemble(events))


def assemble(events: Iterable[Event]) -> Iterator[ReadPart]:
    """The parts of ``events``; fails for an event out of order."""
    turn = iter(events)
    for event in turn:
        if isinstance(event, EndOfMessage):
            assert next(turn, None) is None, "an event after EndOfMessage"
            return
        assert isinstance(event, Part), f"{event} where a part should begin"
        yield [list(field) for field in event.headers], b"".join(_data(turn))
    raise AssertionError("no EndOfMessage")


def _data(events: Iterator[Event]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, EndOfPart):
            return
        assert isinstance(event, Data), f"{event} inside a part"
        assert len(event.data), "an empty Data"
        yield bytes(event.data)
    raise AssertionError("no EndOfPart")


def cut(body: bytes, size: int) -> list[bytes]:
    """``body`` in pieces of ``size`` bytes."""
    return [body[start : start + size] for start in range(0, len(body), size)]


def cut_at(body: bytes, offsets: Iterable[int]) -> list[bytes]:
    """``body`` cut at each of ``offsets``, which may repeat and so make empty pieces."""
    edges = [0, *sorted(min(offset, len(body)) for offset in offsets), len(body)]
    return [body[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]


def halves(body: bytes) -> Iterator[list[bytes]]:
    """``body`` in two pieces, split at each offset."""
    return (cut_at(body, [offset]) for offset in range(len(body) + 1))
