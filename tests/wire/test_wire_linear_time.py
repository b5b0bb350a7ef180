"""Twice the bytes take twice the time, whatever the bytes are, with every limit raised."""

import contextlib
import gc
import time
from collections.abc import Callable

import pytest

from gateway.errors import BrokenBody
from gateway.wire import Decoder, Limits, parse_options_header
from tests.wire.feeding import cut

BOUNDARY = "0123456789abcdef0123456789abcdef"
HEAD, END = f"--{BOUNDARY}\r\n\r\n".encode(), f"\r\n--{BOUNDARY}--".encode()
UNLIMITED = Limits(max_parts=1 << 40, max_part_header_bytes=1 << 40, max_part_headers=1 << 40)
MiB = 1 << 20
ROUNDS, RATIO = 12, 2.2


def decode(body: bytes, size: int, boundary: str = BOUNDARY) -> Callable[[], None]:
    pieces = cut(body, size)

    def run() -> None:
        decoder = Decoder(boundary, UNLIMITED)
        for piece in pieces:
            decoder.receive(piece)
        decoder.close()

    return run


def seconds(run: Callable[[], None]) -> float:
    """CPU seconds of this thread, so that a busy neighbour counts little."""
    start = time.thread_time()
    run()
    return time.thread_time() - start


def assert_linear(once: Callable[[], None], twice: Callable[[], None]) -> None:
    """The best time of each is compared, measured by turns until it holds or the rounds are spent."""
    gc.collect()
    gc.disable()
    try:
        best_once = best_twice = float("inf")
        for _ in range(ROUNDS):
            best_once, best_twice = min(best_once, seconds(once)), min(best_twice, seconds(twice))
            if best_twice <= RATIO * best_once:
                return
    finally:
        gc.enable()
    raise AssertionError(f"{best_twice:.4f} s for twice the bytes that take {best_once:.4f} s")


def message(data: bytes) -> bytes:
    return HEAD + data + END


DELIMITER = f"\r\n--{BOUNDARY}".encode()
SELF_SIMILAR = "a" * 69 + "b"


@pytest.mark.parametrize("size", [MiB, 4096], ids=["1 MiB", "4 KiB"])
@pytest.mark.parametrize(
    "unit",
    [b"\r", b"\n", b"\r\n", b"-", DELIMITER[:-1], DELIMITER[:-1] + b"!", DELIMITER[:3], DELIMITER[:12], b"\r\n--" * 2],
    ids=repr,
)
def test_64_mib_of_nearly_delimiters_are_read_in_linear_time(unit, size):
    once = unit * (32 * MiB // len(unit))
    assert_linear(decode(message(once), size), decode(message(once * 2), size))


@pytest.mark.parametrize("unit", [b"a", b"\n--" + b"a" * 69, b"\n--" + b"a" * 60], ids=["a", "all but one", "most"])
def test_a_boundary_that_resembles_itself_costs_no_more(unit):
    def read(count: int) -> Callable[[], None]:
        head, end = f"--{SELF_SIMILAR}\r\n\r\n".encode(), f"\r\n--{SELF_SIMILAR}--".encode()
        return decode(head + unit * (count // len(unit)) + end, 16384, SELF_SIMILAR)

    assert_linear(read(4 * MiB), read(8 * MiB))


@pytest.mark.parametrize("size", [MiB, 100, 1])
def test_empty_parts_are_read_in_linear_time(size):
    part = f"--{BOUNDARY}\r\n\r\n\r\n".encode()
    count = 40_000 if size > 1 else 2_000
    body = part * count
    assert_linear(decode(body + END[2:], size), decode(body * 2 + END[2:], size))


@pytest.mark.parametrize("size", [MiB, 4096, 1])
@pytest.mark.parametrize("line", [b"A: " + b"x" * 1021, b"A: b", b"A:\r\n b"], ids=["long", "short", "folded"])
def test_long_headers_are_read_in_linear_time(line, size):
    def header(length: int) -> bytes:
        return HEAD[:-2] + (line + b"\r\n") * (length // (len(line) + 2)) + b"\r\n" + END

    length = MiB // 2 if size > 1 else MiB // 16
    assert_linear(decode(header(length), size), decode(header(2 * length), size))


def test_one_endless_field_is_read_in_linear_time():
    def header(length: int) -> bytes:
        return HEAD[:-2] + b"A: " + b" \t" * length + b"x\r\n\r\n" + END

    assert_linear(decode(header(MiB), 1000), decode(header(2 * MiB), 1000))


@pytest.mark.parametrize("unit", [b"\r", b"x", b"\r\n--0123"])
def test_single_bytes_are_read_in_linear_time(unit):
    data = unit * (50_000 // len(unit))
    assert_linear(decode(message(data), 1), decode(message(data * 2), 1))


@pytest.mark.parametrize("size", [MiB, 64])
@pytest.mark.parametrize("where", ["delimiter", "close"])
def test_padding_is_read_in_linear_time(where, size):
    def padded(padding: bytes) -> bytes:
        return HEAD[:-4] + padding + HEAD[-4:] + END if where == "delimiter" else HEAD + END + padding

    length = 8 * MiB if size > 64 else MiB // 2
    assert_linear(decode(padded(b" \t" * length), size), decode(padded(b" \t" * 2 * length), size))


@pytest.mark.parametrize("unit", ["; a", ';"', "\\", "; ", " ", "=", 'a="', ";;", "\t;a=", '; a="\\'], ids=repr)
@pytest.mark.parametrize("start", ["", "a/b; c=", 'a/b; c="'], ids=["bare", "value", "quoted"])
def test_parameters_are_read_or_refused_in_linear_time(start, unit):
    def parse(count: int) -> Callable[[], None]:
        value = start + unit * count

        def run() -> None:
            for _ in range(20):
                with contextlib.suppress(BrokenBody):
                    parse_options_header(value)

        return run

    assert_linear(parse(50_000), parse(100_000))


def test_many_parameters_are_read_in_linear_time():
    def parse(count: int) -> Callable[[], None]:
        value = "a/b" + "".join(f"; p{number:06}=x" for number in range(count))

        def run() -> None:
            assert len(parse_options_header(value)[1]) == count

        return run

    assert_linear(parse(20_000), parse(40_000))
