"""The clicks of one question of a session: what its inputs have set, less what was undone."""

from gateway.contract.interaction import Clicks
from gateway.contract.requests import JSON
from gateway.errors import ParameterRefused
from gateway.protocol.questions import MAX_CLICKS, Shape, read_clicks

UNDO, RESET = "undo", "reset"


class ClicksInForce:
    """Clicks by input: an undo takes back whole inputs, a reset all of them."""

    def __init__(self) -> None:
        self._inputs: list[Clicks] = []

    def clicks(self, *, finished: bool = False) -> Clicks:
        """Return all clicks in force, in the order of the inputs."""
        points = tuple(click for one in self._inputs for click in one.points)
        boxes = tuple(click for one in self._inputs for click in one.boxes)
        return Clicks(points, boxes, finished)

    def take(self, words: JSON, shape: Shape) -> None:
        """Take an input: points and boxes as an answer to a question has them, ``undo`` with a number, or ``reset``.

        ``shape`` is that of the volume. Raises ParameterRefused, and changes nothing then.
        """
        if UNDO in words:
            self._undo(words)
        elif RESET in words:
            if words != {RESET: True}:
                raise _refused(RESET, 'A reset is the object {"reset": true}.')
            self._inputs.clear()
        else:
            self._add(read_clicks(words, shape, ""))

    def _undo(self, words: JSON) -> None:
        number = words[UNDO]
        if type(number) is not int or len(words) > 1 or not 0 < number <= len(self._inputs):
            most = f"from 1 to {len(self._inputs)} here" if self._inputs else "and none is in force here"
            raise _refused(UNDO, f"undo should be the number of inputs to take back, {most}.")
        del self._inputs[-number:]

    def _add(self, given: Clicks) -> None:
        if not (given.points or given.boxes) or given.finished:
            raise _refused("", "An input should have points or boxes, or be an undo or a reset.")
        known = self.clicks()
        for name in ("points", "boxes"):
            if len(getattr(known, name)) + len(getattr(given, name)) > MAX_CLICKS:
                raise _refused(name, f"A session has at most {MAX_CLICKS} {name} in force; undo some.")
        self._inputs.append(given)


def _refused(member: str, sentence: str) -> ParameterRefused:
    return ParameterRefused([(f"/{member}" if member else "", sentence)])
