"""The boundary, and the search for its delimiter in a stream that is cut anywhere (RFC 2046 5.1.1).

A delimiter is ``CRLF -- boundary``. Neither CR nor LF can occur in a boundary, so a delimiter that fails to match
never begins again inside itself: what was held back of it is plain data, and no octet is looked at twice. The bulk is
searched for ``LF -- boundary`` by ``bytes.find``, and the octet before a hit tells a delimiter from a bare LF.
"""

import re
from collections.abc import Iterator

from gateway.errors import BrokenBody

Text = bytes | bytearray
CRLF = b"\r\n"
_CR = 13
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_NOTHING = memoryview(b"")
_WINDOW = 1 << 17
"""Bytes of a buffer without ``find`` that are copied at once to be searched: few enough to stay in a core's cache."""


def dash_boundary(boundary: str) -> bytes:
    """``--`` and the boundary: 1 to 70 bchars, no space at the end (RFC 2046 5.1.1). Raises BrokenBody for another."""
    if not _BOUNDARY.fullmatch(boundary):
        raise BrokenBody(
            "The boundary in Content-Type must be 1 to 70 letters, digits or '()+_,-./:=? and not end in a space "
            "(RFC 2046 5.1.1); choose another, and quote it."
        )
    return b"--" + boundary.encode("ascii")


class Seeker:
    """Tells data from delimiters, holding back at most the beginning of one delimiter between two calls."""

    def __init__(self, boundary: str) -> None:
        """Raises BrokenBody for a boundary that is not allowed."""
        self.delimiter = CRLF + dash_boundary(boundary)
        self._needle = self.delimiter[1:]
        self.begin()

    def begin(self) -> None:
        """Start behind a line end that is no data but may begin a delimiter, as the start of a message may.

        RFC 2046 5.1.1: a preamble may be absent, and a body-part may end with its header, without the blank line.
        """
        self._held, self._not_data = CRLF, len(CRLF)

    def seek(self, text: Text, view: memoryview, position: int) -> tuple[memoryview, int, bool]:
        """Go on at ``text[position]``, of which there must be one: (data passed over, next position, delimiter found).

        ``view`` is over the same octets as ``text``; the data is a slice of it, or what was held and proved to be data.
        Raises BrokenBody for a delimiter after a bare LF: a lenient reader would see a part there.
        """
        if self._held:
            return self._resume(text, position)
        hit = text.find(self._needle, position)
        if hit < 0:
            cut = self._cut(text, position)
            self._held = bytes(text[cut:])
            return view[position:cut], len(text), False
        if hit == position or text[hit - 1] != _CR:
            raise bare_lf()
        return view[position : hit - 1], hit + len(self._needle), True

    def _resume(self, text: Text, position: int) -> tuple[memoryview, int, bool]:
        sought = self.delimiter if self._held.startswith(b"\r") else self._needle
        missing = sought[len(self._held) :]
        more = text[position : position + len(missing)]
        if more == missing:
            if sought is self._needle:
                raise bare_lf()
            self._held, self._not_data = b"", 0
            return _NOTHING, position + len(missing), True
        if missing.startswith(more):
            self._held += more
            return _NOTHING, len(text), False
        data = memoryview(self._held)[self._not_data :]
        self._held, self._not_data = b"", 0
        return data, position, False

    def _cut(self, text: Text, position: int) -> int:
        """The end of what is certainly data: before a tail that may begin a delimiter, or one after a bare LF."""
        lf = text.rfind(b"\n", max(position, len(text) - len(self._needle)))
        if lf >= 0 and self._needle.startswith(text[lf:]):
            return lf - 1 if lf > position and text[lf - 1] == _CR else lf
        return len(text) - text.endswith(b"\r")


def bare_lf() -> BrokenBody:
    """The refusal of a delimiter line that a bare LF begins or ends."""
    return BrokenBody("A delimiter line begins or ends with a bare LF; end every line of the framing with CRLF.")


def searchable(data: bytes | bytearray | memoryview) -> Iterator[tuple[Text, memoryview]]:
    """``data`` as what has ``find``, each with a view over the caller's own buffer."""
    view = memoryview(data).cast("B")
    if isinstance(data, bytes | bytearray):
        yield data, view
        return
    for start in range(0, len(view), _WINDOW):
        piece = view[start : start + _WINDOW]
        yield bytes(piece), piece
