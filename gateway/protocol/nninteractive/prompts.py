"""Prompts of nnInteractive's client -> the inputs of a click session: points and boxes (docs/sessions.md).

A point and a box are what they are. A scribble becomes points along it. A lasso becomes points in it, and a positive
one the box around it too: a model of clicks takes no masks.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.contract.requests import JSON
from gateway.errors import ParameterRefused
from gateway.protocol.nninteractive.marked_voxels import Marked, Voxels, filled, spread

Shape = Sequence[int]


def point_input(words: JSON, shape: Shape) -> JSON:
    """Read ``coordinates`` and ``include_interaction``. Raises ParameterRefused for a point outside of ``shape``."""
    place = [round(number) for number in _numbers(words.get("coordinates"), 3, "/coordinates")]
    if not all(0 <= at < size for at, size in zip(place, shape, strict=True)):
        raise _refused("/coordinates", f"The point lies outside of the image, whose shape is {tuple(shape)}.")
    return {"points": [{"at": place, "positive": _sign(words)}]}


def box_input(words: JSON, shape: Shape) -> JSON:
    """Read ``bbox_coords``, a first index and one behind the last for each axis, and ``include_interaction``.

    What leaves the image is cut off. Raises ParameterRefused for a box without a voxel of it.
    """
    ranges, at = words.get("bbox_coords"), "/bbox_coords"
    if not isinstance(ranges, list) or len(ranges) != 3:
        raise _refused(at, "A box should be three pairs: for each axis its first index, and one behind its last.")
    pairs = [[round(end) for end in _numbers(pair, 2, f"{at}/{axis}")] for axis, pair in enumerate(ranges)]
    inside = [(max(start, 0), min(stop, size)) for (start, stop), size in zip(pairs, shape, strict=True)]
    if any(start >= stop for start, stop in inside):
        raise _refused(at, f"The box has no voxel of the image, whose shape is {tuple(shape)}.")
    return {"boxes": [_box(inside, positive=_sign(words))]}


def scribble_input(words: JSON, mask: NDArray[Any], shape: Shape) -> JSON:
    """Return points along a scribble. ``words`` are those of the request, ``mask`` its array, not 0 where it marks.

    Raises ParameterRefused for a mask that is empty, or does not lie in ``shape``.
    """
    marked, origin = _placed(words, mask, shape)
    return {"points": _points(marked, origin, positive=_sign(words))}


def lasso_input(words: JSON, mask: NDArray[Any], shape: Shape) -> JSON:
    """Return points in a lasso, a filled region or an outline in one slice; with a positive one the box around it.

    Raises as ``scribble_input``.
    """
    marked, origin = _placed(words, mask, shape)
    positive = _sign(words)
    if 1 in marked.shape:
        marked = np.expand_dims(filled(marked.squeeze(axis := marked.shape.index(1))), axis)
    points = _points(marked, origin, positive=positive)
    if not positive:  # a box would take away what is around the lasso too
        return {"points": points}
    around = [(int(start), int(start) + size) for start, size in zip(origin, marked.shape, strict=True)]
    return {"points": points, "boxes": [_box(around, positive=True)]}


def runs_prediction(words: JSON) -> bool:
    """Return True for a prompt that should be answered with its effect."""
    return _flag(words, "run_prediction", default=True)


def joined(inputs: Sequence[JSON]) -> JSON:
    """Return one input of several."""
    points = [point for one in inputs for point in one.get("points", ())]
    boxes = [box for one in inputs for box in one.get("boxes", ())]
    return ({"points": points} if points else {}) | ({"boxes": boxes} if boxes else {})


def _box(ranges: Sequence[tuple[int, int]], *, positive: bool) -> JSON:
    first, last = [start for start, _ in ranges], [stop - 1 for _, stop in ranges]
    return {"box": [first, last], "positive": positive}


def _points(marked: Marked, origin: Voxels, *, positive: bool) -> list[JSON]:
    places = (spread(np.argwhere(marked)) + origin).tolist()
    return [{"at": place, "positive": positive} for place in places]


def _placed(words: JSON, mask: NDArray[Any], shape: Shape) -> tuple[Marked, Voxels]:
    """Return the marked voxels of a mask within the smallest box around them, and the first voxel of that box."""
    bounds = words.get("interaction_bbox")
    at = "/interaction_bbox"
    if bounds is None:
        ranges = [(0, size) for size in shape]
    elif isinstance(bounds, list) and len(bounds) == 3 and all(map(_is_range, bounds)):
        ranges = [(start, stop) for start, stop in bounds]
    else:
        raise _refused(at, "A box should be three pairs of whole numbers: the first index, and one behind the last.")
    if not all(0 <= start < stop <= size for (start, stop), size in zip(ranges, shape, strict=True)):
        raise _refused(at, f"The box should lie in the image, whose shape is {tuple(shape)}.")
    if mask.shape != tuple(stop - start for start, stop in ranges):
        raise _refused(at, f"The mask has the shape {mask.shape}, and its box another.")
    marked = mask != 0
    axes = [np.flatnonzero(marked.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not len(axes[0]):
        raise _refused("", "The mask marks no voxel.")
    start = np.array([axis[0] for axis in axes]) + [first for first, _ in ranges]
    return marked[tuple(slice(axis[0], axis[-1] + 1) for axis in axes)], start


def _numbers(value: Any, count: int, pointer: str) -> list[float]:
    finite = isinstance(value, list) and len(value) == count and all(map(_is_number, value))
    if not finite:
        raise _refused(pointer, f"There should be {count} finite numbers.")
    return list(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9 and math.isfinite(value)


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(end) is int for end in value)


def _sign(words: JSON) -> bool:
    """Return True for what belongs to the object. Raises ParameterRefused where the request does not say."""
    return _flag(words, "include_interaction")


def _flag(words: JSON, name: str, *, default: bool | None = None) -> bool:
    value = words.get(name, default)
    if not isinstance(value, bool):
        raise _refused(f"/{name}", f"{name} should be true or false.")
    return value


def _refused(pointer: str, sentence: str) -> ParameterRefused:
    return ParameterRefused([(pointer, sentence)])
