"""A contact sheet shows each picture once, in order, as large as there is room for."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gateway.dicom.drawing.palettes import colour, lut_of
from gateway.dicom.drawing.render import load_font
from gateway.dicom.drawing.sheet import (
    BACKGROUND,
    MAX_LABELS,
    MAX_LEGEND,
    MAX_TILES,
    Heading,
    Tile,
    _Layout,
    _Text,
    choose,
    contact_sheet,
    tile_size,
)


def tile(index: int, *, found: bool = False, size: tuple[int, int] = (40, 40), aspect: float = 1.0) -> Tile:
    return Tile(Image.new("RGB", size, (255, index, 10)), aspect, str(index), found)


def places(sheet: Image.Image) -> dict[int, tuple[int, int, int, int]]:
    """The place of each tile's picture: left, top, right, bottom."""
    pixels = np.asarray(sheet)
    marked = (pixels[..., 0] == 255) & (pixels[..., 2] == 10)
    found = {}
    for index in np.unique(pixels[..., 1][marked]).tolist():
        rows, columns = np.nonzero(marked & (pixels[..., 1] == index))
        found[index] = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return found


@pytest.mark.parametrize("count", [0, 1, 3, 4, 10, 24])
def test_every_tile_is_there_in_reading_order_and_none_covers_another(count: int) -> None:
    sheet = contact_sheet([tile(index) for index in range(count)], Heading("Title", "Subtitle"))
    found = places(sheet)
    assert list(found) == list(range(count))
    assert sorted(found, key=lambda index: (found[index][1], found[index][0])) == list(range(count))
    covered = np.zeros((sheet.height, sheet.width), int)
    for left, top, right, bottom in found.values():
        covered[top:bottom, left:right] += 1
    assert covered.max(initial=0) <= 1
    assert sum((right - left) * (bottom - top) for left, top, right, bottom in found.values()) == covered.sum()


def test_of_64_tiles_those_shown_are_spread_evenly_over_the_study() -> None:
    shown = list(places(contact_sheet([tile(index) for index in range(64)], Heading(""))))
    assert len(shown) == MAX_TILES
    assert shown[0] == 0
    assert shown[-1] == 63
    assert set(np.diff(shown).tolist()) <= {2, 3}


def test_of_64_tiles_those_with_findings_are_shown() -> None:
    tiles = [tile(index, found=index in (7, 30, 31)) for index in range(64)]
    assert list(places(contact_sheet(tiles, Heading("")))) == [7, 30, 31]


@given(flags=st.lists(st.booleans(), max_size=80), most=st.integers(1, 30))
@settings(deadline=None)
def test_a_choice_is_in_order_without_repeats_and_as_large_as_it_may_be(flags: list[bool], most: int) -> None:
    tiles = [tile(index, found=flag) for index, flag in enumerate(flags)]
    chosen = [int(one.caption) for one in choose(tiles, most)]
    assert chosen == sorted(set(chosen))
    expected = len(flags) if len(flags) <= most else min(most, sum(flags) or len(flags))
    assert len(chosen) == expected


def test_one_picture_is_shown_larger_than_one_of_many() -> None:
    alone, many = (places(contact_sheet([tile(i) for i in range(count)], Heading("")))[0] for count in (1, 24))
    assert alone[2] - alone[0] > 2 * (many[2] - many[0])


@pytest.mark.parametrize("aspect", [0.2, 1.0, 4.0, 1e9, 1e-9])
def test_a_tile_is_as_much_taller_than_wide_as_its_pixels_are(aspect: float) -> None:
    left, top, right, bottom = places(contact_sheet([tile(1, aspect=aspect)], Heading("")))[1]
    assert max(right - left, bottom - top) == 720
    if 0.1 < aspect < 10:
        assert (bottom - top) / (right - left) == pytest.approx(aspect, rel=0.01)


def test_a_sheet_without_tiles_is_a_page_with_its_title() -> None:
    sheet = contact_sheet([], Heading("No findings", "0 images"))
    assert sheet.height < sheet.width
    assert np.asarray(sheet)[:80].max() > 200


HOSTILE = [["a\nb"], ["x" * 10_000], [f"label {n}" for n in range(300)], ["\ud800"], ["name " * 40] * 30]


def texts(**parts: Any) -> list[_Text]:
    return list(_Layout(1000).place(Heading("", **parts)))


def ends(text: _Text) -> float:
    swatch = text.swatch.width + 7 if text.swatch else 0
    return text.x + swatch + load_font(text.size).getlength(text.text)


@pytest.mark.parametrize("names", HOSTILE)
def test_a_heading_of_any_texts_stays_on_the_sheet_and_above_the_tiles(names: list[str]) -> None:
    legend = [(name, colour(n)) for n, name in enumerate(names)]
    heading = Heading(" ".join(names)[:2000], "", names, legend, " ".join(names)[:2000])
    sheet = contact_sheet([tile(0)], heading)
    assert list(places(sheet)) == [0]
    assert (np.asarray(sheet)[:, -10:] == BACKGROUND).all()
    assert all(ends(text) <= 1000 for text in _Layout(1000).place(heading))


def test_the_sheet_states_what_made_it() -> None:
    assert [text.text for text in texts(origin="Model bright 1.0 on /.")] == ["Model bright 1.0 on /."]


def test_a_long_title_continues_on_further_lines() -> None:
    lines = [text.text for text in _Layout(700).place(Heading("1 numeric label mask, " * 8))]
    assert len(lines) > 1
    assert " ".join(lines).split() == ("1 numeric label mask, " * 8).split()


def test_a_legend_is_whole_or_counts_the_names_left_out() -> None:
    whole = [(f"organ {n} of the abdomen", colour(n)) for n in range(MAX_LEGEND)]
    assert [text.text for text in texts(legend=whole)] == [name for name, _ in whole]
    more = [text.text for text in texts(legend=[*whole, *whole])]
    assert more[-1] == f"and {MAX_LEGEND} more"
    assert len(more) == MAX_LEGEND + 1


def test_texts_of_a_legend_do_not_cover_each_other() -> None:
    found = texts(legend=[(f"organ {n} of the abdomen", colour(n)) for n in range(40)])
    rows = {text.y: [one for one in found if one.y == text.y] for text in found}
    assert len(rows) > 1
    for row in rows.values():
        assert all(ends(left) < right.x for left, right in pairwise(row))


def test_labels_are_lines_above_the_tiles_and_those_left_out_are_counted() -> None:
    assert [text.text for text in texts(labels=["side: left", "score: 0.9"])] == ["side: left", "score: 0.9"]
    many = [text.text for text in texts(labels=[f"label {n}" for n in range(40)])]
    assert (len(many), many[-1]) == (MAX_LABELS, f"and {40 - MAX_LABELS + 1} more")


def test_a_heatmap_has_a_bar_of_its_colours_from_0_to_1() -> None:
    lut = lut_of([(0.0, (10, 0, 0, 255)), (1.0, (210, 0, 0, 255))])
    (heat,) = texts(legend=[("heat", lut)])
    assert heat.swatch is not None
    red = np.asarray(heat.swatch)[1, :, 0].astype(int)
    bar = red[(red > 0) & (np.asarray(heat.swatch)[1, :, 1] == 0)]
    assert (bar[0], bar[-1]) == (10, 210)
    assert (np.diff(bar) >= 0).all()


@pytest.mark.parametrize("count", [1, 4, 9, 10, 24, 99])
def test_a_tile_has_the_size_that_its_text_is_drawn_for(count: int) -> None:
    left, _, right, _ = places(contact_sheet([tile(index) for index in range(count)], Heading("")))[0]
    assert right - left == tile_size(count)
