"""Questions of a model and the answers to them, as JSON.

A question is an object with ``question``, ``kind``, and where they apply ``choices``, ``default``, ``shape`` (slices,
rows, columns of what points lie on) and ``SeriesInstanceUID``. Its answer is ``{"answer": value}``; ``VALUES`` has the
form of the value for each kind. A question without one of these kinds is a plain handler's: any object answers it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from gateway.contract.interaction import Ask, Box, BoxClick, Click, Clicks, Point, Reply
from gateway.contract.requests import JSON
from gateway.errors import ParameterRefused

ANSWER = "answer"
PASSWORD = "password"  # the name of a kind
MAX_CLICKS = 1_000
"""Points, and boxes, of one answer: a person sets a few, a few hundred at the most."""
LONGEST_TEXT = 4_096
"""Characters of a text or a password."""

Shape = Sequence[int] | None
"""(slices, rows, columns) of what points lie on; None where it is not known."""


def question_words(ask: Ask, place: Any = None) -> JSON:
    """Return a question as JSON; ``place`` is the Volume or Image that its points lie on.

    Raises ParameterRefused where the default is not an answer to the question.
    """
    words: JSON = {"question": ask.question, "kind": ask.kind}
    if ask.choices:
        words["choices"] = list(ask.choices)
    if place is not None and ask.kind in ("point", "box", "clicks"):
        shape = tuple(map(int, place.shape))
        words["shape"] = [*(1,) * (3 - len(shape)), *shape]
        words["SeriesInstanceUID"] = place.series_instance_uid
    if ask.default is not None:
        words["default"] = reply_words(ask.default)[ANSWER]
        read_reply(words, {ANSWER: words["default"]})
    return words


def is_secret(question: JSON) -> bool:
    """Return True for a question whose answer is never stored."""
    return question.get("kind") == PASSWORD


def same_question(one: JSON, other: JSON) -> bool:
    """Return True for the same question, asked twice; what is shown with it, and its default, may differ."""
    if one.get("kind") not in VALUES:
        return one == other
    return all(one.get(name) == other.get(name) for name in ("question", "kind", "choices"))


def reply_words(reply: Reply) -> JSON:
    """Return an answer as JSON."""
    return {ANSWER: _words(reply)}


def _words(reply: Any) -> Any:
    if isinstance(reply, Clicks):
        points = [{"at": _words(click.point), "positive": click.positive} for click in reply.points]
        boxes = [{"box": _words(click.box), "positive": click.positive} for click in reply.boxes]
        return {"points": points, "boxes": boxes, "finished": reply.finished}
    if isinstance(reply, Box):
        return [_words(reply.first), _words(reply.last)]
    return list(map(float, reply)) if isinstance(reply, Point) else reply


def read_reply(question: JSON, answer: JSON) -> Any:
    """Return the answer to a question as the value that its kind has; of a plain handler's question the answer itself.

    Raises ParameterRefused with the place of the fault, and what an answer should be.
    """
    read = VALUES.get(str(question.get("kind")))
    if read is None:
        return answer
    if ANSWER not in answer or len(answer) > 1:
        raise _refused("", 'The answer to this question should be an object with the one member "answer".')
    return read(question, answer[ANSWER], f"/{ANSWER}")


def _refused(pointer: str, sentence: str) -> ParameterRefused:
    return ParameterRefused([(pointer, sentence)])


def _point(question: JSON, value: Any, pointer: str) -> Point:
    return read_point(value, question.get("shape"), pointer)


def _box(question: JSON, value: Any, pointer: str) -> Box:
    return read_box(value, question.get("shape"), pointer)


def _clicks(question: JSON, value: Any, pointer: str) -> Clicks:
    return read_clicks(value, question.get("shape"), pointer)


def _choice(question: JSON, value: Any, pointer: str) -> str:
    if value not in question.get("choices", ()):
        raise _refused(pointer, "The answer should be one of the choices of the question, letter by letter.")
    return str(value)


def _text(_question: JSON, value: Any, pointer: str) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise _refused(pointer, f"The answer should be a text of at most {LONGEST_TEXT} characters.")
    return value


def _number(_question: JSON, value: Any, pointer: str) -> float:
    if not _is_number(value):
        raise _refused(pointer, "The answer should be a finite number.")
    return float(value)


VALUES: dict[str, Callable[[JSON, Any, str], Reply]] = {
    "point": _point,
    "box": _box,
    "clicks": _clicks,
    "choice": _choice,
    "text": _text,
    "number": _number,
    PASSWORD: _text,
}
"""The reader of the value for each kind of question."""


def read_point(value: Any, shape: Shape, pointer: str) -> Point:
    """Read ``[slice, row, column]``, indices of voxels within ``shape``. Raises ParameterRefused."""
    if not isinstance(value, list) or len(value) != 3 or not all(map(_is_number, value)):
        raise _refused(pointer, "A point should be three finite numbers: slice, row and column.")
    sizes = shape or (math.inf,) * 3
    if not all(-0.5 <= index < size - 0.5 for index, size in zip(value, sizes, strict=True)):
        sentence = "A point should lie in the volume: each index from -0.5 on"
        raise _refused(pointer, f"{sentence}{f', below its size - 0.5; its shape is {tuple(sizes)}' if shape else ''}.")
    return Point(*map(float, value))


def read_box(value: Any, shape: Shape, pointer: str) -> Box:
    """Read ``[first, last]``, two corners of a box within ``shape``. Raises ParameterRefused."""
    if not isinstance(value, list) or len(value) != 2:
        raise _refused(pointer, "A box should be its two corners, the first and the last.")
    first, last = (read_point(corner, shape, f"{pointer}/{number}") for number, corner in enumerate(value))
    if any(end < start for start, end in zip(first, last, strict=True)):
        raise _refused(pointer, "Each index of a box's first corner should be at most that of its last.")
    return Box(first, last)


def read_clicks(value: Any, shape: Shape, pointer: str) -> Clicks:
    """Read an object of ``points``, ``boxes`` and ``finished``.

    A point is ``{"at": [slice, row, column], "positive": bool}``, a box ``{"box": [first, last], "positive": bool}``.
    Each member may be absent: no clicks, positive, not finished. Raises ParameterRefused.
    """
    if not isinstance(value, dict) or not value.keys() <= {"points", "boxes", "finished"}:
        raise _refused(pointer, "Clicks should be an object of points, boxes and finished.")
    points = [
        Click(read_point(one.get("at"), shape, f"{at}/at"), _sign(one, at))
        for one, at in _listed(value, "points", "at", pointer)
    ]
    boxes = [
        BoxClick(read_box(one.get("box"), shape, f"{at}/box"), _sign(one, at))
        for one, at in _listed(value, "boxes", "box", pointer)
    ]
    finished = value.get("finished", False)
    if not isinstance(finished, bool):
        raise _refused(f"{pointer}/finished", "finished should be true or false.")
    return Clicks(tuple(points), tuple(boxes), finished)


def _listed(value: JSON, name: str, place: str, pointer: str) -> list[tuple[JSON, str]]:
    listed, pointer = value.get(name, []), f"{pointer}/{name}"
    if not isinstance(listed, list) or len(listed) > MAX_CLICKS:
        raise _refused(pointer, f"{name} should be a list of at most {MAX_CLICKS}.")
    for number, one in enumerate(listed):
        if not isinstance(one, dict) or not one.keys() <= {place, "positive"}:
            raise _refused(f"{pointer}/{number}", f"Each should be an object of {place} and positive.")
    return [(one, f"{pointer}/{number}") for number, one in enumerate(listed)]


def _sign(one: JSON, pointer: str) -> bool:
    sign = one.get("positive", True)
    if not isinstance(sign, bool):
        raise _refused(f"{pointer}/positive", "positive should be true or false.")
    return sign


def _is_number(value: Any) -> bool:
    """Return True for a finite number; an integer beyond the floats is not one."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False
