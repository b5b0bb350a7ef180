"""What an interactive model yields while it works, and the answers that it receives: plain frozen values.

An interactive model is a generator: it yields ``Progress``, ``Preview`` and ``Ask``, and returns its findings.
The value of ``yield Ask(...)`` is the caller's answer, of the class that ``ANSWERS`` has for the kind of question.
"""

import io
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gateway.contract.brief import Brief, line_of
from gateway.contract.findings import Array, Finding

LONGEST_QUESTION = 4_096
"""Characters of a question: more than a person reads before an answer."""
MAX_CHOICES = 100
"""Choices of a question, and LONGEST_CHOICE characters of each: a list that a person can look through."""
LONGEST_CHOICE = 200
PREVIEW_PIXELS = 1 << 24
"""Pixels of a preview: 4,096 x 4,096, as a large screen shows them; 48 MiB in colour."""


class Point(NamedTuple):
    """A place in a volume: indices of voxels, whose centres have whole numbers; (0, 0, 0) is the first voxel's.

    On an Image the slice is 0. A point lies within half a voxel around the centres: from -0.5 on, and below size - 0.5.
    """

    slice: float
    row: float
    column: float

    @property
    def voxel(self) -> tuple[int, int, int]:
        """The voxel that the point lies in, as an index of the array of the volume."""
        slice, row, column = (math.floor(value + 0.5) for value in self)
        return slice, row, column


class Box(NamedTuple):
    """A box in a volume by two corners that are in it; each index of ``first`` is at most that of ``last``."""

    first: Point
    last: Point


class Click(NamedTuple):
    """A point that belongs to the region, or with ``positive`` False does not."""

    point: Point
    positive: bool = True


class BoxClick(NamedTuple):
    """A box that belongs to the region, or with ``positive`` False does not."""

    box: Box
    positive: bool = True


class Clicks(NamedTuple):
    """All clicks in force, in their order: those that were undone are not among them.

    ``finished`` is True once the caller accepts the region: the model returns it then.
    """

    points: tuple[Click, ...] = ()
    boxes: tuple[BoxClick, ...] = ()
    finished: bool = False

    def __repr__(self) -> str:
        return line_of(
            "Clicks", f"points=({len(self.points)})", f"boxes=({len(self.boxes)})", f"finished={self.finished}"
        )


Reply = Point | Box | Clicks | str | float
"""The answer to a question."""
ANSWERS: dict[str, type] = {
    "point": Point,
    "box": Box,
    "clicks": Clicks,
    "choice": str,
    "text": str,
    "number": float,
    "password": str,
}
"""The class of the answer to each kind of question."""


@dataclass(frozen=True, repr=False)
class Progress(Brief):
    """How far the work has come: ``done`` of ``total``, in any unit."""

    done: float
    total: float
    text: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Preview(Brief):
    """A picture for the caller while the model works: uint8, (row, column) grey or (row, column, 3) RGB.

    ``text`` says what it shows. Raises ValueError for another array.
    """

    picture: Array
    text: str = ""

    def __post_init__(self) -> None:
        array = self.picture
        is_picture = isinstance(array, np.ndarray) and array.dtype == np.uint8
        if not is_picture or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
            raise ValueError("A preview should be an array of uint8, (row, column) or (row, column, 3).")
        if not 0 < array.shape[0] * array.shape[1] <= PREVIEW_PIXELS:
            raise ValueError(f"A preview should have 1 to {PREVIEW_PIXELS} pixels.")

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        from PIL import Image  # a model without previews spares it

        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(self.picture)).save(file, "PNG", compress_level=1)
        return file.getvalue()


@dataclass(frozen=True, eq=False, repr=False)
class Ask(Brief):
    """A question to the caller, who answers by a value of the class that ``ANSWERS`` has for ``kind``.

    ``choices`` are the texts to choose from, for the kind ``choice`` alone. ``default`` is an answer that the caller
    may accept as it is. ``shown`` is the finding so far, which the caller sees beside the question. ``of`` is the
    Volume or Image that points and boxes lie on; it is implied where the model takes just one. The answer to a
    ``password`` is never stored. Raises ValueError for a question that cannot be asked.
    """

    _shown = frozenset({"kind"})

    question: str
    kind: str = "text"
    choices: Sequence[str] = ()
    default: Reply | None = None
    shown: Finding | None = None
    of: Any = None

    def __post_init__(self) -> None:
        if self.kind not in ANSWERS:
            raise ValueError(f"The kind of a question should be one of {', '.join(ANSWERS)}.")
        if not isinstance(self.question, str) or not 0 < len(self.question) <= LONGEST_QUESTION:
            raise ValueError(f"A question should be a text of 1 to {LONGEST_QUESTION} characters.")
        if (self.kind == "choice") != bool(self.choices):
            raise ValueError("A question of the kind choice needs choices, and no other kind has any.")
        _check_choices(self.choices)
        if self.default is not None and self.kind == "password":
            raise ValueError("A question for a password has no default.")


def _check_choices(choices: Sequence[str]) -> None:
    if isinstance(choices, str) or not all(isinstance(one, str) and 0 < len(one) <= LONGEST_CHOICE for one in choices):
        raise ValueError(f"Choices should be a list of texts of 1 to {LONGEST_CHOICE} characters.")
    if len(choices) > MAX_CHOICES or len(set(choices)) < len(choices):
        raise ValueError(f"Choices should be {MAX_CHOICES} at most, and differ.")


Step = Progress | Preview | Ask
"""What an interactive model yields."""
T = TypeVar("T")
Interactive = Generator[Step, Any, T]
"""The return type of an interactive model, with its findings: ``Interactive[Mask]``."""
