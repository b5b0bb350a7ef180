"""Prompts of nnInteractive's client as points and boxes: what a scribble and a lasso become, and what is refused."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from gateway.errors import ParameterRefused
from gateway.protocol.nninteractive.marked_voxels import APART, POINTS, filled, spread
from gateway.protocol.nninteractive.prompts import box_input, lasso_input, point_input, scribble_input

SHAPE = (10, 100, 120)
POSITIVE: dict[str, Any] = {"include_interaction": True}


def ring(radius: int) -> NDArray[np.uint8]:
    """The outline of a circle in a square of 2 * radius + 3."""
    size = 2 * radius + 3
    away = np.hypot(*(np.mgrid[:size, :size] - radius - 1))
    return (np.abs(away - radius) < 1).astype(np.uint8)


def places(found: dict[str, Any]) -> NDArray[np.intp]:
    return np.array([point["at"] for point in found["points"]])


def test_a_point_is_rounded_to_its_voxel() -> None:
    found = point_input({"coordinates": [3.4, 99, 0.2], "include_interaction": False}, SHAPE)
    assert found == {"points": [{"at": [3, 99, 0], "positive": False}]}


def test_a_box_has_both_corners_in_it_and_lies_in_the_image() -> None:
    found = box_input(POSITIVE | {"bbox_coords": [[-3, 2], [5, 6], [100.2, 140]]}, SHAPE)
    assert found == {"boxes": [{"box": [[0, 5, 100], [1, 5, 119]], "positive": True}]}


def test_a_scribble_becomes_points_along_its_axis() -> None:
    scribble = np.ones((1, 3, 80), np.uint8)
    found = places(scribble_input(POSITIVE | {"interaction_bbox": [[4, 5], [10, 13], [20, 100]]}, scribble, SHAPE))
    assert (found[:, :2] == (4, 11)).all()
    across = np.sort(found[:, 2])
    assert across[0] < 28
    assert across[-1] > 91
    assert (np.diff(across) >= APART / 2).all()


def test_a_mask_of_the_whole_image_is_a_scribble_too() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[7, 50, 60] = True
    assert scribble_input(POSITIVE, mask, SHAPE) == {"points": [{"at": [7, 50, 60], "positive": True}]}


@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_lasso_becomes_points_within_it_and_the_box_around_it(axis: int, fill: bool) -> None:
    outline = ring(4)
    mask = np.expand_dims(ndimage.binary_fill_holes(outline) if fill else outline, axis)
    bounds = [[1, 1 + size] for size in mask.shape]
    found = lasso_input(POSITIVE | {"interaction_bbox": bounds}, mask, (20, 20, 20))
    inside = np.expand_dims(ndimage.binary_fill_holes(outline), axis)
    assert all(inside[tuple(place - 1)] for place in places(found))
    first, last = [2, 2, 2], [10, 10, 10]
    first[axis] = last[axis] = 1
    assert found["boxes"] == [{"box": [first, last], "positive": True}]
    negative = lasso_input({"include_interaction": False, "interaction_bbox": bounds}, mask, (20, 20, 20))
    assert "boxes" not in negative
    assert not any(point["positive"] for point in negative["points"])


def test_outlines_are_filled_as_scipy_fills_them() -> None:
    chance = np.random.default_rng(1)
    for number in range(60):
        plane = chance.random(chance.integers(1, 30, 2)) < chance.random()
        plane = ndimage.binary_dilation(plane) if number % 2 else plane
        assert np.array_equal(filled(plane), ndimage.binary_fill_holes(plane))


def test_a_large_mask_becomes_few_voxels_of_it() -> None:
    voxels = np.argwhere(np.ones((30, 60, 60), bool))
    found = spread(voxels)
    assert len(found) == POINTS
    assert len({tuple(place) for place in found}) == POINTS
    assert all(tuple(place) < (30, 60, 60) for place in found)


REFUSED: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "a point outside": (point_input, {"coordinates": [0, 100, 0]}, None),
    "a point of text": (point_input, {"coordinates": ["1", 1, 1]}, None),
    "a point without an end": (point_input, {"coordinates": [1, 1, float("inf")]}, None),
    "a point of two numbers": (point_input, {"coordinates": [1, 1]}, None),
    "no coordinates": (point_input, {}, None),
    "a sign of text": (point_input, {"coordinates": [1, 1, 1], "include_interaction": "yes"}, None),
    "a box outside": (box_input, {"bbox_coords": [[0, 1], [100, 110], [0, 1]]}, None),
    "a box without a voxel": (box_input, {"bbox_coords": [[0, 1], [5, 5], [0, 1]]}, None),
    "a box the wrong way": (box_input, {"bbox_coords": [[0, 1], [6, 5], [0, 1]]}, None),
    "a box of two axes": (box_input, {"bbox_coords": [[0, 1], [6, 5]]}, None),
    "an empty scribble": (scribble_input, {}, np.zeros(SHAPE, np.uint8)),
    "a scribble of another shape": (scribble_input, {}, np.ones((1, 2, 3), np.uint8)),
    "a scribble of two axes": (scribble_input, {"interaction_bbox": [[0, 1], [0, 2], [0, 3]]}, np.ones((2, 3))),
    "a scribble outside": (scribble_input, {"interaction_bbox": [[9, 11], [0, 2], [0, 3]]}, np.ones((2, 2, 3))),
    "a scribble before": (scribble_input, {"interaction_bbox": [[-1, 0], [0, 2], [0, 3]]}, np.ones((1, 2, 3))),
    "a box of halves": (lasso_input, {"interaction_bbox": [[0, 1.5], [0, 2], [0, 3]]}, np.ones((1, 2, 3))),
    "an empty lasso": (lasso_input, {}, np.zeros(SHAPE, bool)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_prompt_is_refused(name: str) -> None:
    read, words, mask = REFUSED[name]
    beside = () if mask is None else (mask,)
    with pytest.raises(ParameterRefused):
        read(POSITIVE | words, *beside, SHAPE)
