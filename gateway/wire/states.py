"""Where a reader stands in a message, and what may come next on a delimiter line (RFC 2046 5.1.1)."""

from enum import IntEnum, auto

from gateway.errors import BrokenBody
from gateway.wire.boundary import bare_lf

_TAB, _LF, _CR, _SPACE, _DASH = b"\t\n\r -"


class State(IntEnum):
    """What the next octet belongs to."""

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
"""States in which spaces and tabs are passed over."""
COMPLETE = (State.CLOSED, State.EPILOGUE)
"""States in which a message may end."""
_CUT = {
    State.PREAMBLE: "The body has no line with the boundary that Content-Type names; name the one that the body uses.",
    State.HEADER: "The body ends inside a part's header; end that with an empty line and send the body whole.",
    State.DATA: "The body ends inside a part, before a closing delimiter; send it whole.",
}


def after(state: State, octet: int) -> State:
    """The state after one more octet of a delimiter line. Raises BrokenBody where RFC 2046 5.1.1 has no such line."""
    follows = _NEXT[state].get(octet)
    if follows is not None:
        return follows
    if octet == _LF:
        raise bare_lf()
    if state in (State.CLOSED, State.CLOSED_LINE_END):
        raise BrokenBody("The closing delimiter shares its line with something else; end it with CRLF.")
    raise BrokenBody("A line begins with the boundary but goes on; choose a boundary that no other line begins with.")


def cut_short(state: State) -> BrokenBody:
    """The refusal of a message that ends in ``state``."""
    return BrokenBody(_CUT.get(state, "The body ends inside a delimiter line; send it whole."))
