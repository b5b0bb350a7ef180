"""Palettes turn 0 to 255 into RGBA, and categories stay apart."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dicom.drawing.palettes import LUT, colour, lut_of
from gateway.protocol.mask_members import anchors

BYTE = st.integers(0, 255)
RGBA = st.lists(BYTE, min_size=4, max_size=4)


def from_anchorpoints(points: list[dict[str, Any]]) -> LUT:
    return from_palette({"type": "anchorpoints", "data": points})


def from_palette(palette: dict[str, Any] | None) -> LUT:
    """The colours of a palette of protocol 1.0."""
    return lut_of(None if palette is None else anchors(palette))


@given(first=RGBA, last=RGBA)
@settings(deadline=None)
def test_anchor_points_are_met_and_colours_between_them_lie_on_a_line(first: list[int], last: list[int]) -> None:
    lut = from_anchorpoints([{"threshold": 0.0, "color": first}, {"threshold": 1.0, "color": last}])
    assert lut.dtype == np.uint8
    assert [lut[0].tolist(), lut[255].tolist()] == [first, last]
    line = np.linspace(first, last, 256)
    assert np.abs(lut - line).max() <= 0.5


def test_an_anchor_point_in_the_middle_bends_the_line() -> None:
    points = [(0.0, [0, 0, 0, 0]), (0.4, [100, 0, 0, 255]), (1.0, [100, 255, 0, 255])]
    lut = from_anchorpoints([{"threshold": place, "color": rgba} for place, rgba in points])
    assert lut[102].tolist() == [100, 0, 0, 255]
    assert lut[51].tolist() == [50, 0, 0, 128]


def test_two_anchor_points_at_one_threshold_make_a_hard_step() -> None:
    black, white = [0, 0, 0, 255], [255, 255, 255, 255]
    points = [(0.0, black), (0.5, black), (0.5, white), (1.0, white)]
    lut = from_palette({"type": "anchorpoints", "data": [{"threshold": at, "color": rgba} for at, rgba in points]})
    assert (lut[:128] == black).all()
    assert (lut[128:] == white).all()


@given(octets=st.binary(min_size=1024, max_size=1024))
@settings(deadline=None)
def test_a_lut_is_taken_as_256_colours_in_a_row(octets: bytes) -> None:
    data = list(octets)
    lut = from_palette({"type": "lut", "data": data})
    assert lut.shape == (256, 4)
    assert lut[3].tolist() == data[12:16]
    assert lut.ravel().tolist() == data


def test_without_a_palette_nothing_is_clear_and_much_is_bright() -> None:
    lut = from_palette(None)
    assert lut[0, 3] == 0
    assert lut[255, :3].sum() > lut[128, :3].sum() > lut[0, :3].sum()
    assert (np.diff(lut[:, 3].astype(int)) >= 0).all()


@pytest.mark.parametrize("count", [7, 20, 60])
def test_categories_differ_in_colour(count: int) -> None:
    found = np.array([colour(index) for index in range(count)])
    distances = np.abs(found[:, None] - found[None]).sum(axis=-1) + 1000 * np.eye(count)
    assert distances.min() > (80 if count == 7 else 10)
    assert found.min() >= 0
    assert found.max() <= 255
