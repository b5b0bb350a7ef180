"""Bytes of multipart/related in, events out (RFC 2387 on RFC 2046 5.1.1). No I/O: the caller reads and feeds.

A wrong answer is worse than no answer, so input that another reader might split differently is refused:

- a delimiter before or after a bare LF, and anything but padding on a delimiter line: RFC 2046 5.1.1 compares the
  boundary with the beginning of a line, so ``--boundaryX`` is a delimiter to some readers and data to others;
- the boundary again after the close delimiter; any other epilogue is ignored, as RFC 2046 5.1.1 demands;
- a part's Content-Length that is not the length of its data, since a reader may skip ahead by it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, auto

from gateway.errors import BrokenBody, LimitExceeded, RequestError
from gateway.wire.boundary import CRLF, Seeker, Text, bare_lf, searchable
from gateway.wire.events import Data, EndOfMessage, EndOfPart, Event, Part
from gateway.wire.headers import declared_length, parse_fields

_TAB, _LF, _CR, _SPACE, _DASH = b"\t\n\r -"


class State(IntEnum):
    """The state of the decoder: the meaning of the next octet."""

    PREAMBLE = auto()
    BOUNDARY = auto()
    PADDING = auto()
    LINE_END = auto()
    DASH = auto()
    HEADER = auto()
    DATA = auto()
    CLOSED = auto()
    CLOSED_LINE_END = auto()
    EPILOGUE = auto()


# After the boundary: transport-padding CRLF, or "--" transport-padding [CRLF epilogue].
_NEXT: dict[State, dict[int, State]] = {
    State.BOUNDARY: {_SPACE: State.PADDING, _TAB: State.PADDING, _CR: State.LINE_END, _DASH: State.DASH},
    State.PADDING: {_CR: State.LINE_END},
    State.LINE_END: {_LF: State.HEADER},
    State.DASH: {_DASH: State.CLOSED},
    State.CLOSED: {_CR: State.CLOSED_LINE_END},
    State.CLOSED_LINE_END: {_LF: State.EPILOGUE},
}
PADDED = (State.PADDING, State.CLOSED)
"""States in which spaces and tabs are skipped."""
COMPLETE = (State.CLOSED, State.EPILOGUE)
"""States in which a message may end."""
_CUT = {
    State.PREAMBLE: "The body has no line with the boundary that Content-Type names; name the one that the body uses.",
    State.HEADER: "The body ends inside a part's header; end that with an empty line and send the body whole.",
    State.DATA: "The body ends inside a part, before a closing delimiter; send it whole.",
}


def after(state: State, octet: int) -> State:
    """Return the state after one more octet of a delimiter line. Raises BrokenBody for a line that RFC 2046 forbids."""
    follows = _NEXT[state].get(octet)
    if follows is not None:
        return follows
    if octet == _LF:
        raise bare_lf()
    if state in (State.CLOSED, State.CLOSED_LINE_END):
        raise BrokenBody("Other text follows the closing delimiter on its line; end the delimiter with CRLF.")
    raise BrokenBody("A line begins with the boundary and continues; choose a boundary that begins no other line.")


def cut_short(state: State) -> BrokenBody:
    """Return the refusal of a message that ends in ``state``."""
    return BrokenBody(_CUT.get(state, "The body ends inside a delimiter line; send it whole."))


_BLANK_LINE = CRLF + CRLF
_NOT_PADDING = re.compile(rb"[^ \t]")
_END_OF_PART = EndOfPart()


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one message; the defaults suit a 4,000-slice study."""

    max_parts: int = 20_000
    max_part_header_bytes: int = 16 << 10
    """From a part's delimiter line to its data, the blank line included."""
    max_part_headers: int = 32


class Decoder:
    """Reads one multipart message, however it is cut into chunks, in time linear in its bytes.

    Between two calls it buffers an unfinished header or the beginning of a delimiter, and no data. After an error each
    further call raises the same error.
    """

    def __init__(self, boundary: str, limits: Limits | None = None) -> None:
        """``boundary`` as in Content-Type, unquoted. Raises BrokenBody for one that RFC 2046 5.1.1 does not allow."""
        self._seeker = Seeker(boundary)
        self._limits = limits or Limits()
        self._state = State.PREAMBLE
        self._header = bytearray()
        self._parts = 0
        self._size = 0
        self._declared: int | None = None
        self._events: list[Event] = []
        self._failure: RequestError | None = None

    def receive(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Decode the next bytes, any number of them; return the events that they complete.

        ``bytes`` and ``bytearray`` are searched in place, other buffers by small copies. Raises
        BrokenBody or LimitExceeded; the events of that call are lost.
        """
        self._check_failed()
        try:
            for text, view in searchable(data):
                self._consume(text, view)
        except RequestError as failure:
            self._fail(failure)
            raise
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """End the input. Raises BrokenBody unless the message is complete."""
        self._check_failed()
        if self._state not in COMPLETE:
            failure = cut_short(self._state)
            self._fail(failure)
            raise failure

    def _check_failed(self) -> None:
        if self._failure is not None:
            raise _copied(self._failure)

    def _fail(self, failure: RequestError) -> None:
        if self._parts:
            failure.members["part"] = self._parts
        self._failure = _copied(failure)
        self._events = []

    def _consume(self, text: Text, view: memoryview) -> None:
        position = 0
        while position < len(text):
            position = _STEPS[self._state](self, text, view, position)

    def _content(self, text: Text, view: memoryview, position: int) -> int:
        """Decode preamble, data or epilogue, up to a delimiter."""
        data, position, at_delimiter = self._seeker.seek(text, view, position)
        if self._state is State.DATA:
            if len(data):
                self._size += len(data)
                self._events.append(Data(data))
            if at_delimiter:
                self._end_part()
        if at_delimiter:
            if self._state is State.EPILOGUE:
                raise BrokenBody("The boundary occurs again after the closing delimiter; write that once, at the end.")
            self._state = State.BOUNDARY
        return position

    def _end_part(self) -> None:
        if self._declared is not None and self._declared != self._size:
            raise BrokenBody("A part's Content-Length is not the length of its data; correct it or leave it out.")
        self._events.append(_END_OF_PART)

    def _line(self, text: Text, view: memoryview, position: int) -> int:
        """Decode an octet of the rest of a delimiter line; transport padding before it is skipped."""
        if self._state in PADDED:
            octet = _NOT_PADDING.search(text, position)
            if octet is None:
                return len(text)
            position = octet.start()
        self._state = after(self._state, text[position])
        if self._state in _ENTER:
            _ENTER[self._state](self)
        return position + 1

    def _begin_header(self) -> None:
        if self._parts >= self._limits.max_parts:
            raise LimitExceeded("max_parts", self._limits.max_parts, "parts")
        self._parts += 1
        self._header = bytearray(CRLF)

    def _header_line(self, text: Text, view: memoryview, position: int) -> int:
        end = text.find(b"\n", position) + 1
        stop = end or len(text)
        limit = self._limits.max_part_header_bytes
        if len(self._header) - len(CRLF) + stop - position > limit:
            raise LimitExceeded("max_part_header_bytes", limit, what="The header of a part")
        self._header += text[position:stop]
        if end and not self._header.endswith(CRLF):
            raise BrokenBody("A line of a part's header ends in a bare LF; end it with CRLF.")
        if self._header.endswith(_BLANK_LINE):
            self._end_header()
        return stop

    def _end_header(self) -> None:
        # RFC 2046 5.1.1, body-part: no line of it, a field's included, may begin with the boundary.
        if self._seeker.delimiter in self._header:
            raise BrokenBody("A line of a part's header begins with the boundary; end the header with an empty line.")
        headers = parse_fields(bytes(self._header[len(CRLF) : -len(_BLANK_LINE)]), self._limits.max_part_headers)
        self._declared, self._size = declared_length(headers), 0
        self._events.append(Part(headers))
        self._state = State.DATA
        self._seeker.begin()

    def _end_message(self) -> None:
        if not self._parts:
            raise BrokenBody("The body closes before its first part; send at least one part.")
        self._events.append(EndOfMessage())

    def _begin_epilogue(self) -> None:
        self._seeker.begin()


_STEPS: Mapping[State, Callable[[Decoder, Text, memoryview, int], int]] = {
    **dict.fromkeys(State, Decoder._line),
    State.PREAMBLE: Decoder._content,
    State.HEADER: Decoder._header_line,
    State.DATA: Decoder._content,
    State.EPILOGUE: Decoder._content,
}
_ENTER: dict[State, Callable[[Decoder], None]] = {
    State.HEADER: Decoder._begin_header,
    State.CLOSED: Decoder._end_message,
    State.EPILOGUE: Decoder._begin_epilogue,
}


def _copied(failure: RequestError) -> RequestError:
    """Copy an error without its traceback, which would keep the chunk and the decoder alive in a cycle."""
    copy = type(failure).__new__(type(failure), *failure.args)
    copy.__dict__.update(failure.__dict__)
    return copy
