"""Findings drawn on one image: masks at its own resolution, lines and text on an enlarged picture.

Images are (row, column, 3) uint8 RGB; places are (column, row), the centre of the first pixel at (0, 0).
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gateway.dicom.drawing.palettes import LUT, Colour

RGB = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Place = Sequence[float]
FONT = Path(__file__).parent / "fonts/DejaVuSans.ttf"
Swatch = Colour | LUT
"""What a name has in a legend: its colour, or the colours of 0 to 1."""

FILL = 0.35
"""Opacity of a mask's colour, 0 to 1; its outline is opaque."""
SMALLEST = 384
"""Pixels of a picture's shorter side, so that text can be read."""
SMALLEST_TEXT = 12
"""Pixels of a font's size as it is shown."""
LARGEST = 4096
"""Pixels of a longer side up to which an image is enlarged: one of 1 x 65,535 would else take gigabytes."""
REACH = 100_000
"""Pixels from the corner up to which lines are drawn, beyond any image: Pillow walks all of a line, seen or not."""
LONGEST = 80
"""Characters of one text."""
SPACING = 1.3
"""Height of a line of text in sizes of its font."""
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def blend_regions(rgb: RGB, regions: Iterable[tuple[NDArray[np.bool_], Colour]]) -> RGB:
    """Tint regions and draw their outlines, the smaller over the larger.

    A pixel has the tint of one region alone: two tints mixed would be a colour that no legend names.
    """
    out = rgb.copy()
    for region, tint in sorted(regions, key=lambda one: -np.count_nonzero(one[0])):
        under = rgb[region].astype(np.float32)
        out[region] = (under + (np.array(tint, np.float32) - under) * FILL).round()
        out[outline(region)] = tint
    return out


def blend_heatmap(rgb: RGB, mask: Mask, lut: LUT) -> RGB:
    """Cover the image with the colours of ``lut``, (256, 4) RGBA, blended by their alpha."""
    rgba = lut[mask].astype(np.float32)
    alpha = rgba[..., 3:] / 255
    return (rgb * (1 - alpha) + rgba[..., :3] * alpha).round().astype(np.uint8)


def swatch(tint: Swatch, size: int) -> Image.Image:
    """Return a square of a colour, or a bar with the colours of 0 to 1 on black, marked with both numbers."""
    if isinstance(tint, tuple):
        return Image.new("RGB", (size, size), tint)
    ramp = np.linspace(0, 255, 8 * size).astype(np.uint8)[None].repeat(size, axis=0)
    bar = Image.fromarray(blend_heatmap(np.zeros((*ramp.shape, 3), np.uint8), ramp, tint))
    font = load_font(size)
    ends = [round(font.getlength(text)) + 4 for text in "01"]
    marked = Image.new("RGB", (ends[0] + bar.width + ends[1], size))
    marked.paste(bar, (ends[0], 0))
    draw = ImageDraw.Draw(marked)
    draw.text((0, size // 2), "0", fill=WHITE, font=font, anchor="lm")
    draw.text((marked.width, size // 2), "1", fill=WHITE, font=font, anchor="rm")
    return marked


def outline(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a region that touch its outside by an edge, or the border of the image."""
    padded = np.pad(region, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return region & ~inner


def readable(text: str) -> str:
    """Return a text on one line, without characters that cannot be printed, cut to ``LONGEST``."""
    line = "".join(character if character.isprintable() else " " for character in text[: 4 * LONGEST])
    shown = " ".join(line.split())
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."


class Canvas:
    """A picture of one image to draw lines and text on, enlarged in whole steps where the image is small.

    ``side`` is the size in pixels at which it will be shown, if smaller: text and lines are as much larger.
    """

    def __init__(self, rgb: RGB, side: int | None = None) -> None:
        self.scale = max(1, min(-(-SMALLEST // min(rgb.shape[:2])), LARGEST // max(rgb.shape[:2])))
        self.picture = Image.fromarray(rgb.repeat(self.scale, axis=0).repeat(self.scale, axis=1))
        self._draw = ImageDraw.Draw(self.picture)
        reduction = 1.0 if side is None else max(1.0, max(self.picture.size) / side)
        self._size = max(round(SMALLEST_TEXT * reduction), min(self.picture.size) // 42)
        self._width = max(round(2 * reduction), min(self.picture.size) // 300)
        self._room = max(1, int(self.picture.height / (self._size * SPACING)) - 1)

    def box(self, top_left: Place, bottom_right: Place, text: str, tint: Colour) -> None:
        """Draw a rectangle whose corners are the centres of two pixels, and its label."""
        left, right = sorted((top_left[0], bottom_right[0]))
        top, bottom = sorted((top_left[1], bottom_right[1]))
        corners = [*self._at((left, top)), *self._at((right, bottom))]
        self._draw.rectangle(corners, outline=tint, width=self._width)
        self._write((corners[0] + self._width + 2, corners[1] + self._width), text, tint)

    def line(self, start: Place, end: Place, text: str, tint: Colour) -> None:
        """Draw a line with marks at both ends, and its label at the middle."""
        (x0, y0), (x1, y1) = self._at(start), self._at(end)
        self._draw.line([x0, y0, x1, y1], fill=tint, width=self._width)
        radius = self._width + 1
        for x, y in ((x0, y0), (x1, y1)):
            self._draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=tint, width=self._width)
        self._write(((x0 + x1) / 2, (y0 + y1) / 2 + radius), text, tint)

    def write(self, lines: Sequence[str]) -> None:
        """Write lines of text from the top left corner down, as many as there is room for."""
        for row, text in enumerate(cut(lines, self._room)):
            self._write((self._size / 2, self._size * (0.5 + row * SPACING)), text, WHITE)

    def legend(self, entries: Sequence[tuple[str, Swatch]]) -> None:
        """Write names and colours from the bottom left corner up, on a third of the picture; the sheet has them all."""
        lines = cut([name for name, _ in entries], max(1, self._room // 3))
        named = len(lines) if len(lines) == len(entries) else len(lines) - 1
        tints = [tint for _, tint in entries[:named]]
        for row, (text, tint) in enumerate(reversed(list(zip_longest(lines, tints)))):
            x, y = self._size // 2, round(self.picture.height - (row + 1.4) * self._size * SPACING)
            if tint is not None:
                square = swatch(tint, self._size)
                self.picture.paste(square, (x, y + 2))
                x += square.width + self._size // 2
            self._write((x, y), text, WHITE)

    def _at(self, place: Place) -> tuple[float, float]:
        x, y = (min(max((value + 0.5) * self.scale, -REACH), REACH) for value in place)
        return x, y

    def _write(self, where: tuple[float, float], text: str, tint: Colour) -> None:
        font, text = load_font(self._size), readable(text)
        left, top, right, bottom = self._draw.textbbox(where, text, font=font, stroke_width=2)
        x = min(where[0], self.picture.width - (right - left) - 2)
        y = min(where[1], self.picture.height - (bottom - where[1]) - 2)
        self._draw.text((max(2, x), max(2, y)), text, fill=tint, font=font, stroke_width=2, stroke_fill=BLACK)


def cut(lines: Sequence[str], most: int) -> list[str]:
    """Return at most ``most`` lines, the last of which counts those left out."""
    return list(lines) if len(lines) <= most else [*lines[: most - 1], f"and {len(lines) - most + 1} more"]


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which has Latin, Greek, Cyrillic and the signs of units, and needs no file of the system."""
    return ImageFont.truetype(FONT, size, layout_engine=ImageFont.Layout.BASIC)  # the other fails for some texts


def wrapped(text: str, size: int, width: int) -> list[str]:
    """Break a text at its spaces into lines of ``width`` pixels, and a word that is longer anywhere."""
    font, lines = load_font(size), list[str]()
    for word in text.split(" ") if text else ():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        lines.append("")
        for character in word:
            if font.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return lines
