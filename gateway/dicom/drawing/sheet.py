"""A contact sheet: many pictures of a study on one page, below what was found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from PIL import Image, ImageDraw

from gateway.dicom.drawing.palettes import Colour
from gateway.dicom.drawing.render import Swatch, cut, load_font, readable, swatch, wrapped

MAX_TILES = 24
"""Tiles of one sheet: as many as a reader can distinguish on a screen."""
MAX_LABELS = 24
"""Lines of labels; a sheet is an overview, and the answer has them all."""
MAX_LEGEND = 60
"""Names in the legend, for the same reason."""
BACKGROUND, INK, FAINT = (17, 20, 24), (235, 238, 241), (150, 158, 168)
MARGIN, GAP, CAPTION = 24, 10, 20
TILE_SIZES = {1: 720, 4: 420, 9: 320, MAX_TILES: 236}
"""Pixels of a tile's longer side by the largest number of tiles."""
TITLE, SUBTITLE, LABEL, LEGEND = 26, 15, 17, 15
"""Sizes of fonts, in pixels."""
LEADING = 1.4
"""Height of a line in sizes of its font."""


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


class Heading(NamedTuple):
    """The texts above the tiles: ``origin`` says what made them, ``labels`` are lines of a model's own."""

    title: str
    subtitle: str = ""
    labels: Sequence[str] = ()
    legend: Sequence[tuple[str, Swatch]] = ()
    origin: str = ""


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


def tile_size(count: int) -> int:
    """Return the pixels of a tile's longer side on a sheet of ``count`` tiles."""
    return next(size for most, size in TILE_SIZES.items() if min(count, MAX_TILES) <= most)


def contact_sheet(tiles: Sequence[Tile], heading: Heading) -> Image.Image:
    """Draw the sheet; without tiles it has the heading alone."""
    shown = choose(tiles)
    side = tile_size(len(shown))
    columns = max(1, min(6, round((len(shown) * 1.4) ** 0.5)))
    rows = -(-len(shown) // columns)
    width = max(720, 2 * MARGIN + columns * side + (columns - 1) * GAP)
    items = list(_Layout(width - 2 * MARGIN).place(heading))
    above = MARGIN + max((item.y + round(item.size * LEADING) for item in items), default=0) + GAP
    sheet = Image.new("RGB", (width, above + rows * (side + CAPTION + GAP) + MARGIN), BACKGROUND)
    for item in items:
        item.draw(sheet)
    draw = ImageDraw.Draw(sheet)
    left = (width - columns * side - (columns - 1) * GAP) // 2
    for index, tile in enumerate(shown):
        row, column = divmod(index, columns)
        x, y = left + column * (side + GAP), above + row * (side + CAPTION + GAP)
        picture = _fit(tile, side)
        sheet.paste(picture, (x + (side - picture.width) // 2, y + (side - picture.height) // 2))
        draw.text((x + 2, y + side + 2), tile.caption, fill=FAINT, font=load_font(13))
    return sheet


def _fit(tile: Tile, side: int) -> Image.Image:
    width, height = tile.picture.width, tile.picture.height * tile.aspect
    scale = side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return tile.picture.resize(size, Image.Resampling.LANCZOS)


class _Text(NamedTuple):
    """A text of the heading at (x, y) within the margins, after its swatch if it has one."""

    x: int
    y: int
    text: str
    size: int
    tint: Colour
    swatch: Image.Image | None = None

    def draw(self, sheet: Image.Image) -> None:
        x, y = MARGIN + self.x, MARGIN + self.y
        if self.swatch is not None:
            sheet.paste(self.swatch, (x, y + 3))
            x += self.swatch.width + 7
        ImageDraw.Draw(sheet).text((x, y), self.text, fill=self.tint, font=load_font(self.size))


class _Layout:
    """The lines of a heading on ``width`` pixels, from the top down."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._y = 0

    def place(self, heading: Heading) -> Iterator[_Text]:
        yield from self._lines(heading.title, TITLE, INK)
        yield from self._lines(heading.subtitle, SUBTITLE, FAINT)
        yield from self._lines(heading.origin, SUBTITLE, FAINT)
        self._y += GAP
        for line in cut(heading.labels, MAX_LABELS):
            yield from self._lines(readable(line), LABEL, INK)
        yield from self._legend(heading.legend)

    def _lines(self, text: str, size: int, tint: Colour) -> Iterator[_Text]:
        for line in wrapped(text, size, self._width):
            yield _Text(0, self._y, line, size, tint)
            self._y += round(size * LEADING)

    def _legend(self, entries: Sequence[tuple[str, Swatch]]) -> Iterator[_Text]:
        """Names after their colours, from left to right on as many lines as they need."""
        x, left_out = 0, len(entries) - MAX_LEGEND
        swatches = [(readable(name), swatch(tint, 13)) for name, tint in entries[:MAX_LEGEND]]
        named = [(_shortened(name, LEGEND, self._width - each.width - 7), each) for name, each in swatches]
        more = [(f"and {left_out} more", None)] if left_out > 0 else []
        for text, colours in [*named, *more]:
            width = round(load_font(LEGEND).getlength(text)) + (7 + colours.width if colours else 0)
            if x and x + width > self._width:
                x, self._y = 0, self._y + round(LEGEND * LEADING)
            yield _Text(x, self._y, text, LEGEND, INK if colours else FAINT, colours)
            x += width + 24


def _shortened(text: str, size: int, width: int) -> str:
    """Cut a text to the length of a line."""
    while load_font(size).getlength(text) > width:
        text = f"{text[:-4]}..."
    return text
