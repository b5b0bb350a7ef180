"""The points of one request, and the answers that they are to the questions of an interactive model.

A client sends all points with each request, as (column, row, slice) of the image's voxels from 0, which 3D Slicer calls
IJK. They are the clicks of a model that answers in one go.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from gateway.contract.interaction import Click, Clicks, Point
from gateway.contract.requests import JSON, EncodedAnswer
from gateway.errors import ParameterRefused
from gateway.protocol.questions import MAX_CLICKS, read_point, reply_words

FOREGROUND, BACKGROUND = "foreground", "background"
IJK = tuple[float, float, float]
"""Column, row and slice of a voxel, from 0."""
Turned = tuple[bool, bool, bool]
"""Which of the axes (slice, row, column) of a volume run against those of the image that was sent."""
NOT_TURNED = (False, False, False)


@dataclass(frozen=True)
class LabelPoints:
    """Points that belong to the region, and points that do not."""

    foreground: tuple[IJK, ...] = ()
    background: tuple[IJK, ...] = ()

    @classmethod
    def of(cls, foreground: Any, background: Any) -> Self:
        """Read two lists of points, each None for no points. Raises ParameterRefused."""
        return cls(tuple(_read(foreground, FOREGROUND)), tuple(_read(background, BACKGROUND)))

    def clicks(self, shape: Any, turned: Turned = NOT_TURNED) -> Clicks:
        """Return the points as the last clicks on a volume of ``shape``, of which some axes are ``turned`` round.

        Raises ParameterRefused for a point outside.
        """
        inside = [Click(point) for point in _placed(self.foreground, FOREGROUND, shape, turned)]
        outside = [Click(point, positive=False) for point in _placed(self.background, BACKGROUND, shape, turned)]
        return Clicks((*inside, *outside), finished=True)


def _placed(points: tuple[IJK, ...], name: str, shape: Any, turned: Turned) -> Iterator[Point]:
    for number, (column, row, slice) in enumerate(points):
        point = read_point([slice, row, column], shape, f"/{name}/{number}")
        if shape is None:
            yield point
        else:
            yield Point(*(size - 1 - at if turn else at for at, size, turn in zip(point, shape, turned, strict=True)))


class PointReplies:
    """The replies to the questions of one inference, from the points of its request."""

    def __init__(self, points: LabelPoints, turned: Turned = NOT_TURNED) -> None:
        """``turned`` are the axes of the model's volume that run against those of the image that was sent."""
        self._points, self._turned, self._asked = points, turned, 0

    def reply(self, question: JSON, _shown: EncodedAnswer | None = None) -> JSON:
        """Return the reply to a question: to one for clicks all points, to one for a point the next of the foreground.

        Raises ParameterRefused for any other question, and where no point is left.
        """
        kind = question.get("kind")
        if kind == "clicks":
            return reply_words(self._points.clicks(question.get("shape"), self._turned))
        if kind != "point":
            sentence = "The model asks its caller for more than points; open a click session, or submit a run."
            raise ParameterRefused([("", sentence)])
        clicks = [one for one in self._points.clicks(question.get("shape"), self._turned).points if one.positive]
        if self._asked >= len(clicks):
            raise ParameterRefused([(f"/{FOREGROUND}", f"The model asks for {self._asked + 1} points; add one.")])
        self._asked += 1
        return reply_words(clicks[self._asked - 1].point)


def _read(points: Any, name: str) -> Iterator[IJK]:
    if points is None:
        return
    if not isinstance(points, list) or len(points) > MAX_CLICKS:
        raise ParameterRefused([(f"/{name}", f"{name} should be a list of at most {MAX_CLICKS} points.")])
    for number, point in enumerate(points):
        if not isinstance(point, list) or len(point) != 3:
            sentence = "A point should be three finite numbers: column, row and slice of a voxel, from 0."
            raise ParameterRefused([(f"/{name}/{number}", sentence)])
        column, row, slice = read_point(point, None, f"/{name}/{number}")
        yield column, row, slice
