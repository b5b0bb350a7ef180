"""Events in, bytes of multipart/related out: the decoder's twin, laid out as requests-toolbelt's MultipartEncoder does.

``--B CRLF fields CRLF data CRLF`` for each part, then ``--B-- CRLF``: no preamble, no padding, no epilogue.
"""

from gateway.wire.boundary import CRLF, dash_boundary
from gateway.wire.events import Data, EndOfMessage, EndOfPart, Event, Part
from gateway.wire.headers import format_fields

_FOLLOWERS: dict[type[Event] | None, tuple[type[Event], ...]] = {
    None: (Part,),
    Part: (Data, EndOfPart),
    Data: (Data, EndOfPart),
    EndOfPart: (Part, EndOfMessage),
    EndOfMessage: (),
}


class Encoder:
    """Writes one multipart message. Its boundary must not occur in the data: use ``new_boundary``."""

    def __init__(self, boundary: str) -> None:
        """Raises BrokenBody for a boundary that RFC 2046 5.1.1 does not allow."""
        self._dash_boundary = dash_boundary(boundary)
        self._last: type[Event] | None = None

    def send(self, event: Event) -> bytes | memoryview:
        """Return the bytes of one event; data is passed on without a copy.

        Raises ValueError for an event out of order, BrokenBody for header fields that the decoder would refuse.
        """
        if not isinstance(event, _FOLLOWERS[self._last]):
            raise ValueError(f"{type(event).__name__} cannot follow {self._last.__name__ if self._last else 'nothing'}")
        octets = self._write(event)
        self._last = type(event)
        return octets

    def _write(self, event: Event) -> bytes | memoryview:
        match event:
            case Part(headers):
                return self._dash_boundary + CRLF + format_fields(headers) + CRLF
            case Data(data):
                return data
            case EndOfPart():
                return CRLF
            case EndOfMessage():
                return self._dash_boundary + b"--" + CRLF
