"""The boundary, and the search for its delimiter in a stream that is cut anywhere (RFC 2046 5.1.1).

A delimiter is ``CRLF -- boundary``. Neither CR nor LF can occur in a boundary, so a failed match never contains the
start of another one: its buffered octets are plain data, and no octet is examined twice. The bulk is searched for
``LF -- boundary`` by ``bytes.find``; the octet before a hit distinguishes a delimiter from a bare LF.
"""

import re
from collections.abc import Iterator

from gateway.errors import BrokenBody

Text = bytes | bytearray
CRLF = b"\r\n"
_CR = 13
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]*+(?<! )")
_FOREIGN = "$"
"""A character that RFC 2046 5.1.1 does not allow and MONAI Label's client sends; a parameter may have it (RFC 9110)."""
MAX_SENT, MAX_RECEIVED = 70, 128
"""Characters of a boundary: RFC 2046 5.1.1 allows 70, and Orthanc's STOW-RS client sends 73."""
_NOTHING = memoryview(b"")
_WINDOW = 1 << 17
"""Bytes of a buffer without ``find`` that are copied at once for the search: few enough for a core's cache."""


def dash_boundary(boundary: str, longest: int = MAX_SENT, *, foreign: bool = False) -> bytes:
    """Return ``--`` and the boundary: 1 to ``longest`` bchars, no space at the end (RFC 2046 5.1.1).

    ``foreign`` allows what a client sends in spite of it. Raises BrokenBody.
    """
    checked = boundary.replace(_FOREIGN, "_") if foreign else boundary
    if not 1 <= len(checked) <= longest or not _BOUNDARY.fullmatch(checked):
        raise BrokenBody(
            f"The boundary in Content-Type must be 1 to {longest} letters, digits or '()+_,-./:=? and not end in a "
            "space (RFC 2046 5.1.1); choose another, and quote it."
        )
    return b"--" + boundary.encode("ascii")


class Seeker:
    """Separates data from delimiters; buffers at most the beginning of one delimiter between two calls."""

    def __init__(self, boundary: str) -> None:
        """Raises BrokenBody for a boundary that is not allowed."""
        self.delimiter = CRLF + dash_boundary(boundary, MAX_RECEIVED, foreign=True)
        self._needle = self.delimiter[1:]
        self.begin()

    def begin(self) -> None:
        """Start after a line end that is not data but may begin a delimiter, as the start of a message may.

        RFC 2046 5.1.1: a preamble may be absent, and a body-part may end with its header, without the blank line.
        """
        self._buffered, self._not_data = CRLF, len(CRLF)

    def seek(self, text: Text, view: memoryview, position: int) -> tuple[memoryview, int, bool]:
        """Search from ``text[position]``, which must exist: (data, next position, delimiter found).

        ``view`` is over the same octets as ``text``; the data is a slice of it, or of buffered octets.
        Raises BrokenBody for a delimiter after a bare LF: a lenient reader would see a part there.
        """
        if self._buffered:
            return self._resume(text, position)
        hit = text.find(self._needle, position)
        if hit < 0:
            cut = self._cut(text, position)
            self._buffered = bytes(text[cut:])
            return view[position:cut], len(text), False
        if hit == position or text[hit - 1] != _CR:
            raise bare_lf()
        return view[position : hit - 1], hit + len(self._needle), True

    def _resume(self, text: Text, position: int) -> tuple[memoryview, int, bool]:
        sought = self.delimiter if self._buffered.startswith(b"\r") else self._needle
        missing = sought[len(self._buffered) :]
        more = text[position : position + len(missing)]
        if more == missing:
            if sought is self._needle:
                raise bare_lf()
            self._buffered, self._not_data = b"", 0
            return _NOTHING, position + len(missing), True
        if missing.startswith(more):
            self._buffered += more
            return _NOTHING, len(text), False
        data = memoryview(self._buffered)[self._not_data :]
        self._buffered, self._not_data = b"", 0
        return data, position, False

    def _cut(self, text: Text, position: int) -> int:
        """Return the end of certain data: before a tail that may begin a delimiter, or one after a bare LF."""
        lf = text.rfind(b"\n", max(position, len(text) - len(self._needle)))
        if lf >= 0 and self._needle.startswith(text[lf:]):
            return lf - 1 if lf > position and text[lf - 1] == _CR else lf
        return len(text) - text.endswith(b"\r")


def bare_lf() -> BrokenBody:
    """Return the refusal of a delimiter line that a bare LF begins or ends."""
    return BrokenBody("A delimiter line begins or ends with a bare LF; end every line of the framing with CRLF.")


def searchable(data: bytes | bytearray | memoryview) -> Iterator[tuple[Text, memoryview]]:
    """Yield ``data`` as texts that have ``find``, each with a view over the caller's own buffer."""
    view = memoryview(data).cast("B")
    if isinstance(data, bytes | bytearray):
        yield data, view
        return
    for start in range(0, len(view), _WINDOW):
        piece = view[start : start + _WINDOW]
        yield bytes(piece), piece
