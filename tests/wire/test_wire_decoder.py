"""Guarantees of the decoder beyond the corpus: no copies, little buffered, lasting failures, exact limits."""

import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import gateway.wire
from gateway.errors import BrokenBody, LimitExceeded, RequestError
from gateway.wire import Data, Decoder, EndOfMessage, EndOfPart, Headers, Limits, Part
from tests.wire.feeding import cut, read

HEAD = b"--B\r\nA: b\r\n\r\n"
MESSAGE = HEAD + b"data\r\n--B--\r\n"
NEARLY = b"\r\n--Boundar"


def data_of(events):
    return [event.data for event in events if isinstance(event, Data)]


def test_events_have_their_order_and_compare_by_value():
    assert Decoder("B").receive(MESSAGE) == [
        Part(Headers((("A", "b"),))),
        Data(b"data"),
        EndOfPart(),
        EndOfMessage(),
    ]


def test_events_cannot_be_changed():
    part = Decoder("B").receive(HEAD)[0]
    with pytest.raises(AttributeError):
        part.headers = Headers()


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_data_inside_a_chunk_is_a_view_of_it_and_no_copy(kind):
    chunk = kind(bytes(300_000))
    decoder = Decoder("B")
    decoder.receive(HEAD)
    views = data_of(decoder.receive(chunk))
    owner = chunk.obj if isinstance(chunk, memoryview) else chunk
    assert [view.obj is owner for view in views] == [True] * len(views)
    assert sum(map(len, views)) == len(chunk)


def test_bytes_give_one_data_a_part_and_chunk():
    decoder = Decoder("B")
    whole = HEAD + bytes(1 << 20) + b"\r\n" + HEAD + bytes(1 << 20)
    assert [len(view) for view in data_of(decoder.receive(whole))] == [1 << 20, 1 << 20]


@pytest.mark.parametrize("chunk", [b"\r" * 10_000, NEARLY * 1_000, b"\r\n--Boundary" * 1_000, b"\n--" * 3_000])
def test_hostile_data_makes_no_flood_of_events(chunk):
    decoder = Decoder("Boundary!".replace("!", "1"))
    decoder.receive(b"--Boundary1\r\n\r\n")
    assert all(len(decoder.receive(chunk)) <= 2 for _ in range(10))


@contextmanager
def little_memory() -> Iterator[None]:
    """Within, no chunk is copied, and what the wire's own lines still hold at the end is small.

    Other threads of the process allocate too: they do not count for what is held, and need far less than a chunk."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
        snapshot = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    own = snapshot.filter_traces([tracemalloc.Filter(True, str(Path(gateway.wire.__file__).parent / "*"))])
    assert sum(trace.size for trace in own.traces) < 2_000
    assert peak < 200_000


@pytest.mark.parametrize("chunk", [b"x" * (1 << 20), b"\r" * (1 << 20), NEARLY * (100_000), b" " * (1 << 20)])
@pytest.mark.parametrize("head", [b"", b"--Boundary\r\n\r\n", b"--Boundary\r\n\r\n\r\n--Boundary--\r\n"])
def test_only_a_beginning_of_a_delimiter_is_buffered_between_chunks(head, chunk):
    decoder = Decoder("Boundary")
    decoder.receive(head)
    decoder.receive(chunk)  # what is made once does not count
    with little_memory():
        for _ in range(8):
            decoder.receive(chunk)


def test_padding_is_not_buffered():
    decoder = Decoder("B")
    decoder.receive(b"--B")
    padding = b" \t" * (1 << 19)
    with little_memory():
        for _ in range(8):
            decoder.receive(padding)
    assert [type(event) for event in decoder.receive(b"\r\n\r\n")] == [Part]


def test_the_end_of_the_message_is_an_event_before_close():
    decoder = Decoder("B")
    assert EndOfMessage() in decoder.receive(MESSAGE.removesuffix(b"\r\n"))
    decoder.close()
    decoder.close()


def test_an_empty_chunk_gives_nothing():
    decoder = Decoder("B")
    for piece in cut(MESSAGE, 1):
        decoder.receive(piece)
        assert decoder.receive(b"") == decoder.receive(bytearray()) == []
    decoder.close()


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        (b"--B\n", Limits()),
        (HEAD + b"\r\n" + MESSAGE, Limits(max_parts=1)),
        (MESSAGE + b"\r\n--B--", Limits()),
    ],
)
def test_a_failed_decoder_raises_the_same_again(body, limits):
    decoder = Decoder("B", limits)
    with pytest.raises(RequestError) as first:
        decoder.receive(body)
    for again in (lambda: decoder.receive(MESSAGE), decoder.close, lambda: decoder.receive(b"")):
        with pytest.raises(type(first.value)) as later:
            again()
        assert later.value.problem() == first.value.problem()


def test_a_message_closed_too_early_stays_failed():
    decoder = Decoder("B")
    decoder.receive(HEAD)
    with pytest.raises(BrokenBody):
        decoder.close()
    with pytest.raises(BrokenBody, match="inside a part, before"):
        decoder.receive(b"data\r\n--B--\r\n")


def test_a_failed_decoder_does_not_reference_its_last_chunk():
    class Chunk(bytearray):
        """A buffer that can be watched."""

    chunk, decoder = Chunk(b"--B\n"), Decoder("B")
    watched = weakref.ref(chunk)
    gc.disable()
    try:
        with pytest.raises(BrokenBody):
            decoder.receive(chunk)
        del chunk
        assert watched() is None
    finally:
        gc.enable()


def test_a_refusal_names_the_part_and_quotes_nothing_of_it():
    secret = b"Doe^John"
    body = HEAD + secret + b"\r\n--B\r\n" + secret + b"\r\n\r\n\r\n--B--"
    with pytest.raises(BrokenBody) as refused:
        Decoder("B").receive(body)
    assert refused.value.problem()["part"] == 2
    assert "Doe" not in str(refused.value.problem())


def test_limits_may_be_met_exactly():
    limits = Limits(max_parts=2, max_part_headers=2, max_part_header_bytes=len(b"A: b\r\nC: d\r\n\r\n"))
    body = b"--B\r\nA: b\r\nC: d\r\n\r\nx\r\n" * 2 + b"--B--"
    for pieces in ([body], cut(body, 1)):
        assert len(read("B", pieces, limits)) == 2


@pytest.mark.parametrize(
    ("limits", "unit"),
    [
        (Limits(max_parts=1), "parts"),
        (Limits(max_part_headers=1), "header fields"),
        (Limits(max_part_header_bytes=13), "bytes"),
    ],
)
def test_a_limit_that_is_exceeded_is_named_with_value_and_unit(limits, unit):
    body = b"--B\r\nA: b\r\nC: d\r\n\r\nx\r\n--B\r\n\r\n\r\n--B--"
    with pytest.raises(LimitExceeded) as refused:
        Decoder("B", limits).receive(body)
    problem = refused.value.problem()
    assert getattr(limits, problem["limit"]) == problem["value"]
    assert f"{problem['limit']}, which is {problem['value']} {unit} here" in problem["detail"]


def test_an_endless_header_is_refused_before_it_has_arrived():
    decoder = Decoder("B", Limits(max_part_header_bytes=1000))
    decoder.receive(b"--B\r\n")
    with pytest.raises(LimitExceeded):
        for _ in range(1001):
            decoder.receive(b"A")
