"""Encoded messages: their layout, their length in advance, and refused input."""

import io

import numpy
import pytest
from requests_toolbelt import MultipartEncoder

from gateway.errors import BrokenBody
from gateway.wire import (
    Data,
    Encoder,
    EndOfMessage,
    EndOfPart,
    Headers,
    OutgoingPart,
    Part,
    content_length,
    encode,
    new_boundary,
    parse_options_header,
)

PARTS = [
    OutgoingPart.named("json-body", "application/json", b'{"a": 1}'),
    OutgoingPart.named("elem_0", "application/binary", bytearray(range(256))),
    OutgoingPart.named("empty", "application/binary", b""),
    OutgoingPart((), 5, [b"he", b"", memoryview(b"llo")]),
]


def written(boundary, parts):
    return b"".join(encode(boundary, parts))


def test_the_layout_is_that_of_toolbelt_to_the_byte():
    fields = [
        ("json-body", ("json-body", b"{}", "application/json")),
        ("elem_0", ("elem_0", io.BytesIO(b"\x00\xff"), "application/binary")),
        ("ü", ("ü", b"", "text/plain")),
    ]
    parts = [
        OutgoingPart.named("json-body", "application/json", b"{}"),
        OutgoingPart.named("elem_0", "application/binary", b"\x00\xff"),
        OutgoingPart.named("ü", "text/plain", b""),
    ]
    assert written("B", parts) == MultipartEncoder(fields, boundary="B").read()


def test_the_content_length_is_known_before_any_chunk_is_read():
    def unasked():
        raise AssertionError("a chunk was asked for")
        yield b""

    lazy = OutgoingPart((("A", "b"),), 7, unasked())
    assert content_length("B", [lazy]) == len(written("B", [OutgoingPart((("A", "b"),), 7, [b"1234567"])]))
    assert content_length("B", PARTS) == len(written("B", PARTS))


def test_a_later_part_is_read_only_when_all_before_is_consumed():
    log = []

    def chunks(name):
        for number in range(2):
            log.append(f"{name}{number}")
            yield b"x"

    pieces = encode("B", [OutgoingPart((), 2, chunks("a")), OutgoingPart((), 2, chunks("b"))])
    seen = [(bytes(piece)[-1:], list(log)) for piece in pieces]
    assert [made for last, made in seen if last == b"x"] == [
        ["a0"],
        ["a0", "a1"],
        ["a0", "a1", "b0"],
        ["a0", "a1", "b0", "b1"],
    ]


def test_no_piece_is_empty_and_data_is_not_copied():
    big = numpy.arange(12, dtype=numpy.float32).reshape(3, 4)
    pieces = list(encode("B", [*PARTS, OutgoingPart((), 48, [big]), OutgoingPart((), 0, [numpy.empty((0, 3))])]))
    assert all(len(piece) for piece in pieces)
    assert [piece.obj is big for piece in pieces if isinstance(piece, memoryview)].count(True) == 1


@pytest.mark.parametrize("chunks", [[b"12"], [b"1", b"234"], []])
def test_chunks_of_another_length_than_promised_raise(chunks):
    with pytest.raises(ValueError, match="announced 3 bytes"):
        written("B", [OutgoingPart((), 3, chunks)])


def test_more_than_promised_is_not_sent():
    sent = bytearray()
    with pytest.raises(ValueError, match="more"):
        for piece in encode("B", [OutgoingPart((), 3, [b"123", b"secret"])]):
            sent += piece
    assert sent == b"--B\r\n\r\n123"


@pytest.mark.parametrize(
    "field",
    [
        ("A\r\nB", "c"),
        ("A", "b\r\nC: d"),
        ("A", "b\nC: d"),
        ("A", "b\0"),
        ("A", "\udcff"),
        ("A ", "b"),
        ("", "b"),
        ("Content-Transfer-Encoding", "base64"),
        ("Content-Length", "x"),
    ],
)
def test_a_field_that_no_reader_would_accept_is_not_written(field):
    with pytest.raises(BrokenBody):
        Encoder("B").send(Part(Headers((field,))))


@pytest.mark.parametrize("boundary", ["", "b" * 71, "b ", "b\r\n", "*", "ü"])
def test_a_boundary_that_no_reader_would_accept_is_not_written(boundary):
    with pytest.raises(BrokenBody):
        Encoder(boundary)


@pytest.mark.parametrize(
    ("sent", "next_event"),
    [
        ([], EndOfMessage()),
        ([], Data(b"x")),
        ([], EndOfPart()),
        ([Part()], Part()),
        ([Part()], EndOfMessage()),
        ([Part(), Data(b"x")], EndOfMessage()),
        ([Part(), EndOfPart()], Data(b"x")),
        ([Part(), EndOfPart(), EndOfMessage()], Part()),
    ],
)
def test_an_event_out_of_its_turn_is_refused(sent, next_event):
    encoder = Encoder("B")
    for event in sent:
        encoder.send(event)
    with pytest.raises(ValueError, match=f"{type(next_event).__name__} cannot follow"):
        encoder.send(next_event)


def test_a_message_without_parts_is_refused():
    with pytest.raises(ValueError, match="EndOfMessage cannot follow nothing"):
        written("B", [])


@pytest.mark.parametrize("name", ['a"b', "a\\b", 'a\\"; filename="c', "ü"])
def test_a_name_cannot_leave_its_quotes(name):
    value = OutgoingPart.named(name, "a/b", b"").headers[0][1]
    assert parse_options_header(value)[1] == dict.fromkeys(("name", "filename"), name.replace('"', "%22"))


def test_a_new_boundary_is_128_fresh_bits_in_hexadecimal():
    boundaries = {new_boundary() for _ in range(100)}
    assert len(boundaries) == 100
    assert all(len(boundary) == 32 and int(boundary, 16) < 1 << 128 for boundary in boundaries)
