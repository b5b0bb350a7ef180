"""Server-sent events: in any pieces, with comments, and none that is incomplete or too long."""

import json
from collections.abc import Iterator

import pytest

from gateway.client import AnswerCorrupt, StreamedEvent
from gateway.client.event_stream import LONGEST_EVENT, read_events

STREAM = (
    b"retry: 1000\n\n"
    b': keep-alive\n\nid: 1\nevent: state\ndata: {"state": "running"}\n\n'
    b'id: 2\r\nevent:progress\r\ndata: {"done": 1,\r\ndata:  "text": "\xc3\xa4"}\r\n\r\n'
    b'id: 4\nevent: state\ndata: {"state": "finished"}\n\n'
    b'id: 5\nevent: log\ndata: {"text": "cut'
)
EVENTS = [
    StreamedEvent(1, "state", {"state": "running"}),
    StreamedEvent(2, "progress", {"done": 1, "text": "ä"}),
    StreamedEvent(4, "state", {"state": "finished"}),
]


def in_pieces(size: int) -> Iterator[bytes]:
    return (STREAM[start : start + size] for start in range(0, len(STREAM), size))


@pytest.mark.parametrize("size", [1, 2, 7, len(STREAM)])
def test_events_are_the_same_in_any_pieces(size: int) -> None:
    events = list(read_events(in_pieces(size)))
    assert events == EVENTS
    assert [event.ends for event in events] == [False, False, True]


@pytest.mark.parametrize(
    "event",
    [
        b"id: 1\nevent: log\ndata: {\n\n",
        b"id: 1\nevent: log\ndata: 5\n\n",
        b"id: one\nevent: log\ndata: {}\n\n",
        b"event: log\ndata: {}\n\n",
        b"id: 1\nevent: log\ndata: " + b"[" * 100_000 + b"\n\n",
        b"data: " + b"x" * LONGEST_EVENT,
        b"data: x\n" * (LONGEST_EVENT // 4),
    ],
)
def test_anything_else_is_refused(event: bytes) -> None:
    with pytest.raises(AnswerCorrupt):
        list(read_events([event]))


def test_an_event_has_a_repr_without_its_texts() -> None:
    assert json.dumps("a name") not in repr(StreamedEvent(1, "log", {"text": "a name"}))
