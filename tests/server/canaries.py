"""Words that no patient data may be found by, planted where a request has room for them, and a search for them.

Each place has a word of its own, so that a leak tells where it comes from. Words are searched for as they are and as
other programs spell them: in UTF-16, base64, percent signs, JSON escapes and hexadecimal digits, in either case.
"""

import base64
import json
from collections.abc import Iterator
from functools import cache
from os.path import commonprefix
from urllib.parse import quote

PLACES = (
    *("PatientName", "PatientID", "PatientBirthDate", "SeriesDescription", "private", "JSON name", "JSON value"),
    *("part name", "file name", "part header", "boundary", "charset", "study path", "forbidden path", "absent path"),
    *("X-Request-ID", "User-Agent", "Referer", "query", "traceparent", "tracestate", "baggage", "X-Gateway-Note"),
    *("Accept", "Cookie", "Origin", "X-Forwarded-For", "Prefer", "timeout", "Host", "path", "method", "line"),
    *("header name", "length", "chunk", "expectation", "encoding", "content coding", "media type", "unknown name"),
    *("Authorization", "header value", "study", "reference", "bundle", "version"),
)
CANARIES = {place: f"Qzx{number:02d}vjk" for number, place in enumerate(PLACES)}
"""Words of eight characters, as many as a date in DICOM has; no digest and no library spells one by chance."""
CODED = {"PatientName": "{}^Zoë=Müller"}
"""Surroundings of a word that a careful program would escape."""


def planted(place: str) -> str:
    """The text to put into a place."""
    return CODED.get(place, "{}").format(CANARIES[place])


def found(data: bytes | str) -> set[str]:
    """The places whose words are in ``data``, in any spelling."""
    data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    low = data.lower()
    if not any(start in low for start in _starts()):
        return set()
    return {place for spelt, place in _table().items() if spelt in low}


def spellings(word: str) -> Iterator[bytes]:
    """One word as bytes, in lower case."""
    for spelling in (
        word,
        "".join(f"\\u{ord(letter):04x}" for letter in word),
        "".join(f"%{ord(i):02x}" for i in word),
    ):
        yield spelling.lower().encode()
    yield quote(word).lower().encode()
    yield json.dumps(word)[1:-1].lower().encode()
    yield word.encode().hex().encode()
    for order in ("utf-16-le", "utf-16-be"):
        yield word.encode(order).strip(b"\0").lower()
    for ahead in range(3):  # base64 depends on what stands before; a digit that it shares with others is left out
        bits = range(-(-8 * ahead // 6), 8 * (ahead + len(word)) // 6)
        yield base64.b64encode(bytes(ahead) + word.encode())[bits.start : bits.stop].lower()


@cache
def _starts() -> set[bytes]:
    """The common beginning of all words in each spelling: most data is searched for it only."""
    return {commonprefix(same) for same in zip(*map(spellings, CANARIES.values()), strict=True)}


@cache
def _table() -> dict[bytes, str]:
    return {spelt: place for place, word in CANARIES.items() for spelt in spellings(word)}
