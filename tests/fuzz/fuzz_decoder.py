"""Fuzz the decoder against the plain reference: ``python tests/fuzz/fuzz_decoder.py tests/corpus/good -max_len=4096``.

Needs ``pip install atheris``. The first octets of an input say where the body is cut; the boundary is B, as in most of
the corpus. A crash is an exception that is no refusal, a fault told differently for another cut, or a disagreement.
"""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["gateway.wire"]):
    from gateway.errors import BrokenBody
    from gateway.wire import Limits, parse_options_header
from tests.wire import reference
from tests.wire.feeding import ReadPart, cut_at, read

CUTS = 4
UNLIMITED = Limits(max_parts=1 << 30, max_part_header_bytes=1 << 30, max_part_headers=1 << 30)


def outcome(pieces: list[bytes]) -> list[ReadPart] | dict[str, object]:
    """The decoder's result for a body: its parts or the problem."""
    try:
        return read("B", pieces, UNLIMITED)
    except BrokenBody as refused:
        return refused.problem()


def agree(data: bytes) -> None:
    """Fail unless whole, cut and reference agree on one input."""
    offsets, body = data[:CUTS], data[CUTS:]
    whole = outcome([body])
    assert outcome(cut_at(body, offsets)) == whole, "another cut, another outcome"
    if b"content-" in body.lower():
        return  # The reference reads the framing, not the meaning of fields.
    try:
        parts = reference.read(body, "B")
    except (reference.Unreadable, UnicodeDecodeError):
        assert isinstance(whole, dict), "read what the reference refuses"
        return
    assert whole == parts or _holds_controls(body), "refused or read otherwise than the reference"


def _holds_controls(body: bytes) -> bool:
    return any(
        ord(octet) < 32 and octet not in "\t\r\n" or 127 <= ord(octet) < 160 for octet in body.decode("utf-8", "ignore")
    )


def parameters(data: bytes) -> None:
    """Fail if a header value is neither read nor refused."""
    try:
        parse_options_header(data.decode("latin-1"))
    except BrokenBody:
        return


def one_input(data: bytes) -> None:
    agree(data)
    parameters(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
