"""The media ranges of an Accept header in the order of preference (RFC 9110 12.5.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.errors import BrokenBody
from gateway.wire.headers import parse_options_header

_ITEM = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*+")++')
_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
MULTIPART = "multipart/related"
ANY = "*/*"
MAX_RANGES = 64
"""Media ranges that are read; a browser sends ten."""


@dataclass(frozen=True)
class MediaRange:
    """A media type that is accepted, with its parameters; one of ``quality`` 0 is not accepted."""

    media_type: str
    parameters: dict[str, str] = field(default_factory=dict)
    quality: float = 1.0

    @property
    def part_type(self) -> str:
        """The media type of the parts of ``multipart/related`` (RFC 2387 3.1), ``*/*`` where it is not stated."""
        return self.parameters.get("type", ANY).lower()

    @property
    def transfer_syntax(self) -> str:
        """The UID of a transfer syntax, ``*`` for any, "" for the default (PS3.18 8.7.3.5)."""
        return self.parameters.get("transfer-syntax", "")

    def covers(self, media_type: str) -> bool:
        """Return True if the range includes a media type."""
        return covers(self.media_type, media_type)


def covers(wanted: str, media_type: str) -> bool:
    """Return True if a media range, such as ``image/*``, includes a media type."""
    return wanted in (ANY, media_type) or (wanted.endswith("/*") and media_type.startswith(wanted[:-1]))


def media_ranges(accept: str) -> list[MediaRange]:
    """Read an Accept header, the preferred range first; one that cannot be read is left out.

    An empty header accepts everything.
    """
    return sorted((one for one in all_ranges(accept) if one.quality > 0), key=lambda one: -one.quality)


def all_ranges(accept: str) -> list[MediaRange]:
    """Read an Accept header in its order, as ``media_ranges``, with the types that it excludes by a quality of 0."""
    if not accept.strip():
        return [MediaRange(ANY)]
    return [one for item in _ITEM.findall(accept)[:MAX_RANGES] if (one := _range(item)) is not None]


def chosen_range(ranges: Sequence[MediaRange], media_type: str) -> MediaRange | None:
    """Return the range that decides about a media type: the most specific one (RFC 9110 12.5.1), of those the best."""
    covering = [one for one in ranges if one.covers(media_type)]
    return max(
        covering, key=lambda one: (one.media_type == media_type, one.media_type != ANY, one.quality), default=None
    )


def _range(item: str) -> MediaRange | None:
    try:
        media_type, parameters = parse_options_header(item)
    except BrokenBody:
        return None
    quality = parameters.pop("q", "1")
    if not _TYPE.fullmatch(media_type) or not _QUALITY.fullmatch(quality):
        return None
    return MediaRange(media_type, parameters, float(quality))
