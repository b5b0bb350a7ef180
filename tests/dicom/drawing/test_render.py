"""Findings are drawn on their pixels of an image, and on no others."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from gateway.dicom.drawing.palettes import lut_of
from gateway.dicom.drawing.render import (
    LONGEST,
    SMALLEST,
    Canvas,
    blend_heatmap,
    blend_regions,
    cut,
    load_font,
    outline,
    readable,
)

RED, GREEN = (255, 0, 0), (0, 255, 0)
SHAPE = (9, 7)
IMAGES = arrays(np.uint8, (*SHAPE, 3))
REGIONS = arrays(np.bool_, SHAPE)


def grey(rows: int, columns: int, value: int = 100) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((rows, columns, 3), value, np.uint8)


def drawn(canvas: Canvas) -> np.ndarray[Any, Any]:
    """(row, column) of what is not grey, on the picture."""
    return np.ptp(np.asarray(canvas.picture).astype(int), axis=-1) > 0


@given(rgb=IMAGES, region=REGIONS)
@settings(deadline=None)
def test_a_region_changes_no_pixel_outside_it_and_its_outline_is_opaque(rgb: Any, region: Any) -> None:
    before = rgb.copy()
    out = blend_regions(rgb, [(region, RED)])
    assert (out[~region] == before[~region]).all()
    assert (out[outline(region)] == RED).all()
    assert (rgb == before).all()


def test_the_inside_of_a_region_lets_the_image_through() -> None:
    region = np.zeros((9, 9), bool)
    region[2:7, 2:7] = True
    out = blend_regions(grey(9, 9), [(region, RED)])
    assert out[4, 4].tolist() == [154, 65, 65]


@given(region=REGIONS)
@settings(deadline=None)
def test_an_outline_is_what_a_region_loses_by_one_step_of_erosion(region: Any) -> None:
    assert (outline(region) == (region & ~ndimage.binary_erosion(region))).all()


@given(rgb=IMAGES, first=REGIONS, second=REGIONS)
@settings(deadline=None)
def test_a_pixel_has_the_tint_of_one_region_alone(rgb: Any, first: Any, second: Any) -> None:
    both = blend_regions(rgb, [(first, RED), (second, GREEN)])
    alone = [blend_regions(rgb, [one]) for one in ((first, RED), (second, GREEN))]
    assert ((both == alone[0]) | (both == alone[1])).all(axis=-1).all()


@pytest.mark.parametrize("order", [1, -1])
def test_a_small_region_within_a_large_one_shows_whichever_comes_first(order: int) -> None:
    large, small = np.ones((9, 9), bool), np.zeros((9, 9), bool)
    small[2:7, 2:7] = True
    out = blend_regions(grey(9, 9, 0), [(large, RED), (small, GREEN)][::order])
    assert out[2, 2].tolist() == [*GREEN]
    assert out[4, 4].tolist() == [0, 89, 0]
    assert out[1, 4].tolist() == [89, 0, 0]


@pytest.mark.parametrize("side", [100, 236])
def test_text_for_a_small_tile_is_large_enough_to_read_there(side: int) -> None:
    """Reduced to its tile, a label is as high as a small font."""
    canvas = Canvas(grey(1024, 1024, 0), side)
    canvas.write(["HHH"])
    rows = np.asarray(canvas.picture.resize((side, side))).max(axis=(1, 2)) > 60
    assert rows.sum() >= 7


def test_a_legend_that_has_no_room_for_all_names_counts_the_others() -> None:
    assert cut(["a", "b", "c"], 3) == ["a", "b", "c"]
    assert cut(["a", "b", "c", "d"], 3) == ["a", "b", "and 2 more"]


@given(rgb=IMAGES, mask=arrays(np.uint8, SHAPE))
@settings(deadline=None)
def test_a_heatmap_covers_as_far_as_its_alpha_goes(rgb: Any, mask: Any) -> None:
    lut = np.zeros((256, 4), np.uint8)
    lut[:, :3], lut[128:, 3] = RED, 255
    out = blend_heatmap(rgb, mask, lut)
    assert (out[mask < 128] == rgb[mask < 128]).all()
    assert (out[mask >= 128] == RED).all()


def test_a_half_clear_colour_is_half_mixed() -> None:
    lut = lut_of([(0.0, (200, 0, 0, 51)), (1.0, (200, 0, 0, 51))])
    assert blend_heatmap(grey(1, 1), np.zeros((1, 1), np.uint8), lut)[0, 0].tolist() == [120, 80, 80]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (16, 90), (512, 512), (383, 385)])
def test_a_small_image_is_enlarged_in_whole_steps_until_words_can_be_read(rows: int, columns: int) -> None:
    canvas = Canvas(grey(rows, columns))
    assert canvas.picture.size == (columns * canvas.scale, rows * canvas.scale)
    assert min(canvas.picture.size) >= SMALLEST
    assert (canvas.scale - 1) * min(rows, columns) < SMALLEST


@pytest.mark.parametrize(("rows", "columns"), [(1, 65_535), (65_535, 1), (3000, 4000)])
def test_a_long_image_is_not_enlarged_beyond_reason(rows: int, columns: int) -> None:
    canvas = Canvas(grey(rows, columns))
    canvas.write(["a"])
    assert canvas.picture.size == (columns, rows)


@pytest.mark.parametrize("corners", [((2, 3), (9, 12)), ((9, 12), (2, 3)), ((2, 12), (9, 3))])
def test_a_box_runs_through_the_centres_of_its_corners_whichever_are_named(corners: Any) -> None:
    canvas = Canvas(grey(16, 16))
    start, end = corners
    canvas.box(start, end, "", RED)
    rows, columns = np.nonzero(drawn(canvas))
    step = canvas.scale
    assert [columns.min() // step, columns.max() // step] == [2, 9]
    assert [rows.min() // step, rows.max() // step] == [3, 12]
    assert abs(columns.min() - 2.5 * step) <= 1
    assert not drawn(canvas)[7 * step, 5 * step]


def test_a_line_joins_the_centres_of_its_ends() -> None:
    canvas = Canvas(grey(16, 16))
    canvas.line((2, 5), (12, 5), "", GREEN)
    rows, columns = np.nonzero(drawn(canvas))
    step, mark = canvas.scale, 4
    assert abs(rows.mean() - 5.5 * step) < 1
    assert abs(columns.min() - (2.5 * step - mark)) <= 2
    assert abs(columns.max() - (12.5 * step + mark)) <= 2


@pytest.mark.parametrize("far", [1e5, 1e9, 1e300])
def test_coordinates_far_outside_are_drawn_in_no_time_and_as_far_as_they_are_seen(far: float) -> None:
    canvas = Canvas(grey(16, 16))
    canvas.box((-far, 4), (far, 8), "far", RED)
    canvas.line((8, -far), (8, far), "far", GREEN)
    assert drawn(canvas)[:, 0].any()
    assert drawn(canvas)[0].any()


@pytest.mark.parametrize("text", ["two\nlines", "\x00\x1b[2J", "\ud800", "x" * 1_000_000, "漢字", "", "a\u202eb"])
def test_any_text_is_drawn_on_one_line_of_bounded_length(text: str) -> None:
    canvas = Canvas(grey(16, 16))
    canvas.box((2, 2), (9, 9), text, RED)
    canvas.write([text])
    canvas.legend([(text, RED)])
    assert len(readable(text)) <= LONGEST
    assert readable(text).isprintable()


def test_a_cut_text_is_marked_and_a_short_one_unchanged() -> None:
    assert readable("Left  lung\n(apex)") == "Left lung (apex)"
    assert readable("x" * 100).endswith("...")


def test_more_lines_than_there_is_room_for_do_not_cover_each_other() -> None:
    few, many = Canvas(grey(16, 16, 0)), Canvas(grey(16, 16, 0))
    few.write(["word"] * 5)
    many.write(["word"] * 500)
    assert np.asarray(many.picture).any(axis=(1, 2)).sum() > np.asarray(few.picture).any(axis=(1, 2)).sum()
    assert not np.asarray(many.picture)[-3:].any()
    legend = Canvas(grey(16, 16, 0))
    legend.legend([("name", RED)] * 500)
    assert not np.asarray(legend.picture)[:3].any()


@pytest.mark.parametrize("character", "äöüßéñµ×²³ŁЖΩ–±°≥")
def test_the_letters_of_names_and_units_have_a_shape(character: str) -> None:
    missing, shape = (bytes(load_font(40).getmask(each)) for each in ("\U0010fffd", character))
    assert shape != missing
    assert any(shape)
