"""Eight times the bytes take eight times the work, for any bytes, with every limit raised.

The sizes are a sixteenth of the stated ones in ``make test``, and whole in the slow tier.
"""

import contextlib
import gc
import time
from collections.abc import Callable

import pytest

from gateway.errors import BrokenBody
from gateway.wire import Decoder, Limits, parse_options_header
from tests.wire.feeding import cut

pytestmark = pytest.mark.heavy


BOUNDARY = "0123456789abcdef0123456789abcdef"
HEAD, END = f"--{BOUNDARY}\r\n\r\n".encode(), f"\r\n--{BOUNDARY}--".encode()
UNLIMITED = Limits(max_parts=1 << 40, max_part_header_bytes=1 << 40, max_part_headers=1 << 40)
Check = Callable[[Callable[[int], Callable[[], None]], int], None]
MiB = 1 << 20
ROUNDS = 12
TIMES, MARGIN = 8, 3
"""Linear work takes 8 times as long for 8 times the bytes, and quadratic work 64 times: told apart by 24."""


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


@pytest.fixture(params=[16, pytest.param(1, marks=pytest.mark.slow)], ids=["a sixteenth", "whole"])
def assert_linear(request: pytest.FixtureRequest) -> Check:
    """Compare the best time of each of two sizes, measured by turns until it is linear or the rounds are spent."""

    def check(make: Callable[[int], Callable[[], None]], size: int) -> None:
        small, large = make(size // request.param), make(TIMES * (size // request.param))
        gc.collect()
        gc.disable()
        try:
            best_small = best_large = float("inf")
            for _ in range(ROUNDS):
                best_small, best_large = min(best_small, seconds(small)), min(best_large, seconds(large))
                if best_large <= MARGIN * TIMES * best_small:
                    return
        finally:
            gc.enable()
        raise AssertionError(f"{best_large:.4f} s for {TIMES} times the bytes that take {best_small:.4f} s")

    return check


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
def test_up_to_64_mib_of_nearly_delimiters_are_read_in_linear_time(assert_linear, unit, size):
    assert_linear(lambda count: decode(message(unit * (count // len(unit))), size), 8 * MiB)


@pytest.mark.parametrize("unit", [b"a", b"\n--" + b"a" * 69, b"\n--" + b"a" * 60], ids=["a", "all but one", "most"])
def test_a_boundary_that_resembles_itself_costs_no_more(assert_linear, unit):
    def read(count: int) -> Callable[[], None]:
        head, end = f"--{SELF_SIMILAR}\r\n\r\n".encode(), f"\r\n--{SELF_SIMILAR}--".encode()
        return decode(head + unit * (count // len(unit)) + end, 16384, SELF_SIMILAR)

    assert_linear(read, MiB)


@pytest.mark.parametrize("size", [MiB, 100, 1])
def test_empty_parts_are_read_in_linear_time(assert_linear, size):
    part = f"--{BOUNDARY}\r\n\r\n\r\n".encode()
    assert_linear(lambda count: decode(part * count + END[2:], size), 10_000 if size > 1 else 500)


@pytest.mark.parametrize("size", [MiB, 4096, 1])
@pytest.mark.parametrize("line", [b"A: " + b"x" * 1021, b"A: b", b"A:\r\n b"], ids=["long", "short", "folded"])
def test_long_headers_are_read_in_linear_time(assert_linear, line, size):
    def read(length: int) -> Callable[[], None]:
        return decode(HEAD[:-2] + (line + b"\r\n") * (length // (len(line) + 2)) + b"\r\n" + END, size)

    assert_linear(read, MiB // 8 if size > 1 else MiB // 16)  # several of the longest lines in the smallest input


def test_one_endless_field_is_read_in_linear_time(assert_linear):
    assert_linear(lambda length: decode(HEAD[:-2] + b"A: " + b" \t" * length + b"x\r\n\r\n" + END, 1000), MiB // 4)


@pytest.mark.parametrize("unit", [b"\r", b"x", b"\r\n--0123"])
def test_single_bytes_are_read_in_linear_time(assert_linear, unit):
    assert_linear(lambda count: decode(message(unit * (count // len(unit))), 1), 12_000)


@pytest.mark.parametrize("size", [MiB, 64])
@pytest.mark.parametrize("where", ["delimiter", "close"])
def test_padding_is_read_in_linear_time(assert_linear, where, size):
    def read(length: int) -> Callable[[], None]:
        padding = b" \t" * length
        return decode(HEAD[:-4] + padding + HEAD[-4:] + END if where == "delimiter" else HEAD + END + padding, size)

    assert_linear(read, 2 * MiB if size > 64 else MiB // 8)


@pytest.mark.parametrize("unit", ["; a", ';"', "\\", "; ", " ", "=", 'a="', ";;", "\t;a=", '; a="\\'], ids=repr)
@pytest.mark.parametrize("start", ["", "a/b; c=", 'a/b; c="'], ids=["bare", "value", "quoted"])
def test_parameters_are_read_or_refused_in_linear_time(assert_linear, start, unit):
    def parse(count: int) -> Callable[[], None]:
        value = start + unit * count

        def run() -> None:
            for _ in range(4):
                with contextlib.suppress(BrokenBody):
                    parse_options_header(value)

        return run

    assert_linear(parse, 12_500)


def test_many_parameters_are_read_in_linear_time(assert_linear):
    def parse(count: int) -> Callable[[], None]:
        value = "a/b" + "".join(f"; p{number:06}=x" for number in range(count))

        def run() -> None:
            assert len(parse_options_header(value)[1]) == count

        return run

    assert_linear(parse, 5_000)
