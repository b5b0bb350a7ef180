"""The first part of a request: bytes in a charset -> a JSON object."""

import codecs
import json
import math
from typing import Any, NoReturn

from gateway.contract.requests import JSON
from gateway.errors import BrokenJSON
from gateway.protocol.jsontext import has_half_surrogate

CHARSETS = frozenset(
    ["utf-8", "utf8", "us-ascii", "ascii", "latin1"]
    + [f"utf-{bits}{order}" for bits in (16, 32) for order in ("", "le", "be", "-le", "-be")]
    + [f"iso-8859-{part}" for part in range(1, 17) if part != 12]
    + [f"windows-{page}" for page in range(1250, 1259)]
)
"""The charsets read. Named, since Python's codecs also hold compressors and quadratic decoders (idna, punycode)."""

_PREAMBLE, _DICM = 128, b"DICM"
"""Where a DICOM file says what it is (PS3.10 7.1); no JSON has these letters there without being one in a string."""

_BIG_ENDIAN_MARKS = {"utf-16": codecs.BOM_UTF16_BE, "utf-32": codecs.BOM_UTF32_BE}


def parse_json(data: bytes, charset: str | None) -> JSON:
    """Read one JSON object (RFC 8259) from ``data`` in ``charset`` (UTF-8 if None or empty).

    A byte order mark is ignored (RFC 8259 8.1). NaN, Infinity and numbers that overflow to them, halves of surrogate
    pairs, integers beyond Python's digit limit and nesting beyond its recursion limit are refused. Raises BrokenJSON,
    whose text never quotes the data.
    """
    if data[_PREAMBLE : _PREAMBLE + len(_DICM)] == _DICM:
        raise BrokenJSON("The first part is a DICOM file; send the JSON as the first part and the DICOM after it.")
    value = parse_value(decode_text(data, charset))
    if not isinstance(value, dict):
        raise BrokenJSON("The JSON should be an object, in braces.")
    return value


def count_values(text: bytes | bytearray | str) -> int:
    """Count the values and containers of a JSON at most: a comma or a bracket within a string counts as one.

    One pass over the text is enough. Parsed, a value takes 64 to 250 bytes beside its text, however few bytes that has.
    """
    marks = ",[{" if isinstance(text, str) else b",[{"
    return sum(map(text.count, marks))  # type: ignore[arg-type]


def parse_value(text: str) -> Any:
    """Read one JSON value. Raises BrokenJSON as ``parse_json`` does."""
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        _refuse_half_surrogates(text, value)
    except json.JSONDecodeError as error:
        raise BrokenJSON(f"The JSON breaks off at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise BrokenJSON("The JSON is nested too deep.") from None
    except ValueError:
        raise BrokenJSON("The JSON holds an integer with too many digits.") from None
    return value


def decode_text(data: bytes, charset: str | None, what: str = "The JSON") -> str:
    """Return text in ``charset`` (UTF-8 if None or empty), without a byte order mark. Raises BrokenJSON."""
    name = (charset or "utf-8").strip().lower().replace("_", "-")
    if name not in CHARSETS:
        raise BrokenJSON(f"The charset is not one that is read here; send {what[0].lower()}{what[1:]} as utf-8.")
    try:
        return str(data, _with_byte_order(name, data)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BrokenJSON(f"{what} is not text in {name}: byte {error.start} does not decode.") from None


def _with_byte_order(name: str, data: bytes) -> str:
    """Derive the byte order of JSON without a mark: its first character is ASCII (RFC 4627 3)."""
    mark = _BIG_ENDIAN_MARKS.get(name)
    if mark is None:
        return name
    big = data[: len(mark)] == mark or data[:1] == b"\0"
    return f"{name}-{'be' if big else 'le'}"


def _refuse_half_surrogates(text: str, value: Any) -> None:
    if ("\\ud" in text or "\\uD" in text) and has_half_surrogate(value):
        raise BrokenJSON("The JSON holds half of a surrogate pair, which is no character (RFC 8259 8.2).")


def _no_constant(_: str) -> NoReturn:
    raise BrokenJSON("The JSON holds NaN or Infinity, which are not JSON (RFC 8259 6).")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise BrokenJSON("The JSON holds a number beyond the range of a 64-bit float.")
    return value
