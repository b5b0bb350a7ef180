"""A contact sheet: many pictures of a study on one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from PIL import Image, ImageDraw

from gateway.dicom.drawing.palettes import Colour
from gateway.dicom.drawing.render import load_font, readable

MAX_TILES = 24
"""Tiles of one sheet: as many as a reader can distinguish on a screen."""
BACKGROUND, INK, FAINT = (17, 20, 24), (235, 238, 241), (150, 158, 168)
MARGIN, GAP, CAPTION, TITLE = 24, 10, 20, 64
TILE_SIZES = {1: 720, 4: 420, 9: 320}
"""Pixels of a tile's longer side by the largest number of tiles; 236 for more."""


class Shown(Protocol):
    """A candidate for a sheet."""

    @property
    def found(self) -> bool:
        """True if it shows findings."""


AnyShown = TypeVar("AnyShown", bound=Shown)
Item = TypeVar("Item")


@dataclass(frozen=True)
class Tile:
    """A picture, the height of its pixels divided by their width, its caption, ``found`` if it shows findings."""

    picture: Image.Image
    aspect: float
    caption: str
    found: bool


def choose(tiles: Sequence[AnyShown], most: int = MAX_TILES) -> list[AnyShown]:
    """Choose at most ``most`` tiles, evenly over the study; of too many only those with findings, if there are any."""
    wanted = list(tiles)
    if len(wanted) > most:
        wanted = [tile for tile in tiles if tile.found] or wanted
    return evenly(wanted, most)


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Choose at most ``most`` items at even distances, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / max(1, most - 1))] for index in range(most)]


def reduced(picture: Image.Image) -> Image.Image:
    """Return a copy no larger than the largest tile."""
    copy = picture.copy()
    copy.thumbnail((TILE_SIZES[1], TILE_SIZES[1]), Image.Resampling.LANCZOS)
    return copy


def contact_sheet(
    tiles: Sequence[Tile], title: str, subtitle: str, legend: Sequence[tuple[str, Colour]]
) -> Image.Image:
    """Draw the sheet; without tiles it has the title alone."""
    shown = choose(tiles)
    side = next((size for most, size in TILE_SIZES.items() if len(shown) <= most), 236)
    columns = max(1, min(6, round((len(shown) * 1.4) ** 0.5)))
    rows = -(-len(shown) // columns)
    width = max(720, 2 * MARGIN + columns * side + (columns - 1) * GAP)
    legend_height = 30 if legend else 0
    height = 2 * MARGIN + TITLE + legend_height + rows * (side + CAPTION + GAP)
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 4), title, fill=INK, font=load_font(26))
    draw.text((MARGIN, MARGIN + 32), subtitle, fill=FAINT, font=load_font(15))
    _legend(draw, legend, MARGIN + TITLE, width - MARGIN)
    left = (width - columns * side - (columns - 1) * GAP) // 2
    for index, tile in enumerate(shown):
        row, column = divmod(index, columns)
        x = left + column * (side + GAP)
        y = MARGIN + TITLE + legend_height + row * (side + CAPTION + GAP)
        picture = _fit(tile, side)
        sheet.paste(picture, (x + (side - picture.width) // 2, y + (side - picture.height) // 2))
        draw.text((x + 2, y + side + 2), tile.caption, fill=FAINT, font=load_font(13))
    return sheet


def _fit(tile: Tile, side: int) -> Image.Image:
    width, height = tile.picture.width, tile.picture.height * tile.aspect
    scale = side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return tile.picture.resize(size, Image.Resampling.LANCZOS)


def _legend(draw: ImageDraw.ImageDraw, entries: Sequence[tuple[str, Colour]], y: int, end: int) -> None:
    x, font = float(MARGIN), load_font(15)
    for text, tint in ((readable(name), tint) for name, tint in entries):
        length = draw.textlength(text, font=font)
        if x + length + 40 > end:
            draw.text((x, y), "...", fill=FAINT, font=font)
            return
        draw.rectangle([x, y + 3, x + 13, y + 16], fill=tint)
        draw.text((x + 20, y), text, fill=INK, font=font)
        x += length + 44
