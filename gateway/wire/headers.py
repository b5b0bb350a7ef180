"""Header fields of a part (RFC 2045 3).

Input that two readers could understand differently is refused:

- A folded field is unfolded (RFC 5322 2.2.3): Python's ``email`` folds a long file name. A fold with no field before
  it, or a line of nothing but white space (RFC 5322 3.2.2 forbids it), is refused.
- A name is a token (RFC 9110 5.6.2) directly followed by its colon (RFC 9112 5.1).
- A value may hold UTF-8 (RFC 6532 3.2), as browsers, curl and requests-toolbelt send file names; any other octet above
  127 and every control character but the tab is refused (RFC 9110 5.5).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

from gateway.errors import BrokenBody, LimitExceeded

Field = tuple[str, str]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# A lone surrogate represents an octet of a file name that is not UTF-8; it cannot be encoded.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")
_FOLD = re.compile(r"\r\n(?=[ \t])")
_BLANK_FOLD = re.compile(r"\r\n[ \t]+(?:\r\n|\Z)")
_LENGTH = re.compile(r"[0-9]{1,18}")

_ONCE = frozenset({"content-type", "content-disposition", "content-transfer-encoding", "content-length", "content-id"})
_IDENTITY = frozenset({"binary", "8bit", "7bit"})


@dataclass(frozen=True, slots=True)
class Headers:
    """Header fields in the order and spelling of the sender; look-up ignores case."""

    fields: tuple[Field, ...] = ()

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of the first field called ``name`` in any case (RFC 9110 5.1), or ``default``."""
        name = name.lower()
        for key, value in self.fields:
            if key.lower() == name:
                return value
        return default

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


def parse_fields(block: bytes, max_fields: int) -> Headers:
    """Read a part's header: ``block`` is its lines without the last CRLF and the blank line (RFC 2046 5.1.1).

    Raises BrokenBody for a malformed, doubled or unsupported field, LimitExceeded for more than ``max_fields``.
    """
    if not block:
        return Headers()
    lines = _unfold(block).split("\r\n")
    if len(lines) > max_fields:
        raise LimitExceeded("max_part_headers", max_fields, "header fields", what="A part of the request")
    headers = Headers(tuple(map(_parse_field, lines)))
    _check_meaning(headers)
    return headers


def _unfold(block: bytes) -> str:
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError:
        raise BrokenBody("A part's header is not UTF-8; write other text as in RFC 2231, or leave it out.") from None
    if _BLANK_FOLD.search(text):
        raise BrokenBody("A part's header has a line of white space only; end the header with an empty line.")
    return _FOLD.sub("", text)


def _parse_field(line: str) -> Field:
    name, colon, value = line.partition(":")
    value = value.strip(" \t")
    if not colon:
        raise BrokenBody(
            "A line in a part's header has no colon; write 'Name: value' and an empty line before the data."
        )
    check_field(name, value)
    return name, value


def check_field(name: str, value: str) -> None:
    """Raise BrokenBody unless ``name`` is a token and ``value`` is free of control characters (RFC 9110 5.1, 5.5)."""
    if not _TOKEN.fullmatch(name):
        raise BrokenBody(
            "A field name in a part's header is not a token directly before its colon; "
            "use letters, digits and hyphens, and no space."
        )
    if _CONTROL.search(value):
        raise BrokenBody("A field in a part's header holds a control character; remove it, and end lines with CRLF.")


def _check_meaning(headers: Headers) -> None:
    values = {name.lower(): value for name, value in headers}
    if len(values) < len(headers):
        times = Counter(name.lower() for name, _ in headers)
        if doubled := [name for name in _ONCE if times[name] > 1]:
            raise BrokenBody(f"A part has more than one {min(doubled)} field; send it once.")
    if values.get("content-transfer-encoding", "binary").lower() not in _IDENTITY:
        raise BrokenBody(
            "A part has a Content-Transfer-Encoding other than binary, 8bit or 7bit; send its bytes as they are."
        )
    if "content-length" in values:
        declared_length(headers)


def declared_length(headers: Headers) -> int | None:
    """Return a part's Content-Length in bytes, or None; Orthanc sends one. Raises BrokenBody."""
    length = headers.get("content-length")
    if length is None:
        return None
    if not _LENGTH.fullmatch(length):
        raise BrokenBody("A part's Content-Length is not a number of bytes; correct it or leave it out.")
    return int(length)


def format_fields(fields: Iterable[Field]) -> bytes:
    """Return the fields as lines that end in CRLF. Raises BrokenBody for fields that ``parse_fields`` would refuse."""
    return _format(tuple(fields))


@lru_cache(256)  # answers have similar headers, and each is formatted twice: for its length and for itself
def _format(fields: tuple[Field, ...]) -> bytes:
    for name, value in fields:
        check_field(name, value)
    _check_meaning(Headers(fields))
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()


# Possessive quantifiers: a hostile value fails at once, without backtracking.
_PARAMETER = re.compile(
    r"\s*+;\s*+(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]++)\s*+=\s*+"
    r'(?:"(?P<quoted>[^"\\]*+(?:\\.[^"\\]*+)*+)"|(?P<bare>[^\s;"]*+)))?\s*+(?=;|\Z)',
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


def parse_options_header(value: str) -> tuple[str, dict[str, str]]:
    """Split a Content-Type or Content-Disposition: ``'A/b; C="d"'`` to ``('a/b', {'c': 'd'})``.

    The first word and the names of parameters are returned in lower case. A value may be quoted, with backslash
    escapes, or bare; a bare one may contain the ``/`` and ``=`` that Orthanc and others leave unquoted. ``name*``
    (RFC 2231) is an ordinary name. Raises BrokenBody for a malformed or repeated parameter.
    """
    word, _, _ = value.partition(";")
    position, parameters = len(word), dict[str, str]()
    while position < len(value):
        match = _PARAMETER.match(value, position)
        if match is None:
            raise BrokenBody('A Content header has a malformed parameter; write name=value, or name="value" in quotes.')
        position = match.end()
        if match["name"] is not None:
            _add(parameters, match["name"].lower(), match)
    return word.strip().lower(), parameters


def _add(parameters: dict[str, str], name: str, match: re.Match[str]) -> None:
    if name in parameters:
        raise BrokenBody("A Content header has one parameter twice; send each once.")
    quoted = match["quoted"]
    parameters[name] = match["bare"] if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
