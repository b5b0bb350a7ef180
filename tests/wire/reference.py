"""A plain reader of RFC 2046 5.1.1: the whole body at once, slowly, with none of the decoder's code."""

import re

from tests.wire.feeding import ReadPart

_FIELD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*(?:\r\n[ \t]+[^ \t\r\n\0][^\r\n\0]*)*\r\n"
_HEADER = re.compile(rb"(?:" + _FIELD + rb")*")


class Unreadable(Exception):
    """The body is not one well-formed message."""


def read(body: bytes, boundary: str) -> list[ReadPart]:
    """The parts of ``body``. A line begins after LF; a delimiter must begin after CRLF. Raises Unreadable."""
    preamble, *rest = (b"\r\n" + body).split(b"\n--" + boundary.encode())
    if len(rest) < 2:
        raise Unreadable("no part")
    *parts, end = rest
    if not all(piece.endswith(b"\r") for piece in (preamble, *parts)):
        raise Unreadable("a delimiter after a bare LF")
    if not re.fullmatch(rb"--[ \t]*(\r\n.*)?", end, re.DOTALL):
        raise Unreadable("no closing delimiter")
    return [_part(piece + b"\n") for piece in parts]


def _part(piece: bytes) -> ReadPart:
    padding, line_end, body_part = piece.partition(b"\r\n")
    if padding.strip(b" \t") or not line_end:
        raise Unreadable("a delimiter line that goes on")
    header, blank_line, data = (b"\r\n" + body_part).partition(b"\r\n\r\n")
    if not blank_line:
        raise Unreadable("a header without an end")
    lines = (header + b"\r\n").removeprefix(b"\r\n")
    if not _HEADER.fullmatch(lines):
        raise Unreadable("a malformed header")
    fields = re.sub(rb"\r\n(?=[ \t])", b"", lines).decode().split("\r\n")[:-1]
    return [[part.strip(" \t") for part in field.split(":", 1)] for field in fields], data.removesuffix(b"\r\n")
