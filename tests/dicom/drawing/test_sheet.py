"""A contact sheet shows each picture once, in order, as large as there is room for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gateway.dicom.drawing.palettes import colour
from gateway.dicom.drawing.sheet import MAX_TILES, Tile, choose, contact_sheet


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
    sheet = contact_sheet([tile(index) for index in range(count)], "Title", "Subtitle", [])
    found = places(sheet)
    assert list(found) == list(range(count))
    assert sorted(found, key=lambda index: (found[index][1], found[index][0])) == list(range(count))
    covered = np.zeros((sheet.height, sheet.width), int)
    for left, top, right, bottom in found.values():
        covered[top:bottom, left:right] += 1
    assert covered.max(initial=0) <= 1
    assert sum((right - left) * (bottom - top) for left, top, right, bottom in found.values()) == covered.sum()


def test_of_64_tiles_those_shown_are_spread_evenly_over_the_study() -> None:
    shown = list(places(contact_sheet([tile(index) for index in range(64)], "", "", [])))
    assert len(shown) == MAX_TILES
    assert shown[0] == 0
    assert shown[-1] == 63
    assert set(np.diff(shown).tolist()) <= {2, 3}


def test_of_64_tiles_those_with_findings_are_shown() -> None:
    tiles = [tile(index, found=index in (7, 30, 31)) for index in range(64)]
    assert list(places(contact_sheet(tiles, "", "", []))) == [7, 30, 31]


@given(flags=st.lists(st.booleans(), max_size=80), most=st.integers(1, 30))
@settings(deadline=None)
def test_a_choice_is_in_order_without_repeats_and_as_large_as_it_may_be(flags: list[bool], most: int) -> None:
    tiles = [tile(index, found=flag) for index, flag in enumerate(flags)]
    chosen = [int(one.caption) for one in choose(tiles, most)]
    assert chosen == sorted(set(chosen))
    expected = len(flags) if len(flags) <= most else min(most, sum(flags) or len(flags))
    assert len(chosen) == expected


def test_one_picture_is_shown_larger_than_one_of_many() -> None:
    alone, many = (places(contact_sheet([tile(i) for i in range(count)], "", "", []))[0] for count in (1, 24))
    assert alone[2] - alone[0] > 2 * (many[2] - many[0])


@pytest.mark.parametrize("aspect", [0.2, 1.0, 4.0, 1e9, 1e-9])
def test_a_tile_is_as_much_taller_than_wide_as_its_pixels_are(aspect: float) -> None:
    left, top, right, bottom = places(contact_sheet([tile(1, aspect=aspect)], "", "", []))[1]
    assert max(right - left, bottom - top) == 720
    if 0.1 < aspect < 10:
        assert (bottom - top) / (right - left) == pytest.approx(aspect, rel=0.01)


def test_a_sheet_without_tiles_is_a_page_with_its_title() -> None:
    sheet = contact_sheet([], "No findings", "0 images", [])
    assert sheet.height < sheet.width
    assert np.asarray(sheet)[:80].max() > 200


@pytest.mark.parametrize("names", [["a\nb"], ["x" * 10_000], [f"label {n}" for n in range(300)], ["\ud800"]])
def test_a_legend_of_any_names_stays_on_its_line(names: list[str]) -> None:
    plain = contact_sheet([tile(0)], "", "", [("a", colour(0))])
    sheet = contact_sheet([tile(0)], "", "", [(name, colour(n)) for n, name in enumerate(names)])
    assert sheet.size == plain.size
    assert places(sheet) == places(plain)
    assert (np.asarray(sheet)[:, -10:] == np.asarray(plain)[:, -10:]).all()
