"""Properties over arbitrary bytes and arbitrary cuts: twins, a slow reference, and toolbelt on the other side."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from requests_toolbelt import MultipartDecoder, MultipartEncoder

from gateway.errors import BrokenBody, RequestError
from gateway.wire import Decoder, OutgoingPart, content_length, encode, fill, frame, new_boundary, parse_options_header
from tests.examples import examples
from tests.wire import reference
from tests.wire.feeding import ReadPart, cut_at, read

pytestmark = pytest.mark.heavy


BCHARS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=?"
BOUNDARIES = st.builds(
    str.__add__, st.text(BCHARS + " ", max_size=69), st.text(BCHARS, min_size=1, max_size=1)
) | st.sampled_from(["B", "-", "--", "a--", "B" * 70])
OFFSETS = st.lists(st.integers(0, 400), max_size=12)
NAMES = st.from_regex(r"X-[A-Za-z0-9!#$%&'*+.^_`|~-]{0,6}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20).map(lambda text: text.strip(" \t"))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(tuple)
NEAR = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"-", b"--", b"B", b"x", b"\r\n--"]), max_size=20).map(b"".join)
CHUNKS = st.lists(st.binary(max_size=60) | NEAR, max_size=4)
PARTS = st.lists(st.tuples(FIELDS, CHUNKS), min_size=1, max_size=4)

TOKENS = [
    *[b"--B", b"\r\n--B", b"\n--B", b"\r--B", b"--B--", b"\r\n--B--", b"\r\n--B\r\n\r\n", b"--BX", b"--", b"-", b"B"],
    *[b"\r\n", b"\r\n\r\n", b"\r", b"\n", b" ", b"\t", b"A: b\r\n", b"A:b", b" c", b":", b"A : b\r\n", b"x", b"\0"],
]
NEARLY_MESSAGES = st.lists(st.sampled_from(TOKENS), max_size=14).map(b"".join) | st.lists(
    st.sampled_from(TOKENS), max_size=8
).map(lambda tokens: b"--B\r\n\r\n" + b"".join(tokens) + b"\r\n--B--")


@settings(deadline=None)
@given(BOUNDARIES, PARTS, OFFSETS)
def test_what_is_encoded_is_decoded_however_it_is_cut(boundary, parts, offsets):
    assume(not any(f"\n--{boundary}".encode() in b"\r\n" + b"".join(chunks) for _, chunks in parts))
    outgoing = [OutgoingPart(fields, sum(map(len, chunks)), chunks) for fields, chunks in parts]
    body = b"".join(encode(boundary, outgoing))
    assert len(body) == content_length(boundary, outgoing)
    assert b"".join(fill(frame(boundary, outgoing), outgoing)) == body
    assert read(boundary, cut_at(body, offsets)) == [([list(field) for field in f], b"".join(c)) for f, c in parts]


def outcome(body: bytes, offsets: list[int]) -> list[ReadPart] | None:
    try:
        return read("B", cut_at(body, offsets))
    except BrokenBody:
        return None


@settings(max_examples=examples(500), deadline=None)
@given(NEARLY_MESSAGES, OFFSETS)
@example(b"--B\r\n\r\n--B--\r", [])
@example(b"--B\r\n--BA: b\r\n\r\n--B--", [])
@example(b"--B\r\n\r\n\r\n--B--\r\n\n--B", [17])
@example(b"--B\r\nA: b\r\n\r\n--B\r\n\r\n\r\r\n--B--", [13, 14, 24])
def test_the_decoder_agrees_with_a_plain_reader_of_the_standard(body, offsets):
    try:
        expected = reference.read(body, "B")
    except reference.Unreadable:
        expected = None
    assert outcome(body, []) == outcome(body, offsets) == expected


@settings(deadline=None)
@given(st.binary(max_size=200) | NEARLY_MESSAGES, OFFSETS)
def test_a_fault_has_the_same_error_however_the_body_is_cut(body, offsets):
    def told(pieces):
        decoder = Decoder("B")
        try:
            for piece in pieces:
                decoder.receive(piece)
            decoder.close()
        except RequestError as failure:
            return failure.problem()
        return None

    assert told([body]) == told(cut_at(body, offsets))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=5), OFFSETS)
def test_toolbelt_reads_what_is_encoded_and_is_read_when_it_encodes(contents, offsets):
    boundary = new_boundary()
    parts = [OutgoingPart.named(f"elem_{i}", "application/binary", data) for i, data in enumerate(contents)]
    ours = b"".join(encode(boundary, parts))
    theirs = MultipartDecoder(ours, f"multipart/related; boundary={boundary}")
    assert [part.content for part in theirs.parts] == contents
    assert [part.headers[b"Content-Type"] for part in theirs.parts] == [b"application/binary"] * len(contents)

    fields = [(f"elem_{i}", (f"elem_{i}", data, "application/binary")) for i, data in enumerate(contents)]
    encoder = MultipartEncoder(fields)
    _, parameters = parse_options_header(encoder.content_type)
    assert [data for _, data in read(parameters["boundary"], cut_at(encoder.read(), offsets))] == contents


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_every_offset_of_a_delimiter_may_fall_on_the_edge_of_a_window(padding):
    """Buffers without ``find`` are searched in windows; the delimiter is moved across the first window's end."""
    for shift in range(12):
        data = b"x" * ((1 << 17) - 12 + shift) + b"\r" * padding
        body = b"--B\r\n\r\n" + data + b"\r\n--B--\r\n"
        assert read("B", [bytearray(body)]) == [([], data)]
