"""Findings drawn on one image: masks at its own resolution, lines and text on an enlarged picture.

Images are (row, column, 3) uint8 RGB; places are (column, row), the centre of the first pixel at (0, 0).
"""

from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gateway.dicom.drawing.palettes import LUT, Colour, colour

RGB = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Place = Sequence[float]
T = TypeVar("T")

FILL = 0.25
"""Opacity of a mask's colour, 0 to 1; its outline is opaque."""
SMALLEST = 384
"""Pixels of a picture's shorter side, so that text can be read."""
LARGEST = 4096
"""Pixels of a longer side up to which an image is enlarged: one of 1 x 65,535 would else take gigabytes."""
REACH = 100_000
"""Pixels from the corner up to which lines are drawn, beyond any image: Pillow walks all of a line, seen or not."""
LONGEST = 80
"""Characters of one text."""
SPACING = 1.3
"""Height of a line of text in sizes of its font."""
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def blend_region(rgb: RGB, region: NDArray[np.bool_], tint: Colour) -> RGB:
    """Tint a region and draw its outline."""
    out = rgb.astype(np.float32)
    out[region] += (np.array(tint, np.float32) - out[region]) * FILL
    out[outline(region)] = tint
    return out.round().astype(np.uint8)


def blend_labels(rgb: RGB, mask: Mask, colours: dict[int, Colour]) -> RGB:
    """Tint each label of a mask in a colour of its own; 0 is background."""
    for label in np.unique(mask[mask > 0]).tolist():
        rgb = blend_region(rgb, mask == label, colours.get(label, colour(label - 1)))
    return rgb


def blend_heatmap(rgb: RGB, mask: Mask, lut: LUT) -> RGB:
    """Cover the image with the colours of ``lut``, (256, 4) RGBA, blended by their alpha."""
    rgba = lut[mask].astype(np.float32)
    alpha = rgba[..., 3:] / 255
    return (rgb * (1 - alpha) + rgba[..., :3] * alpha).round().astype(np.uint8)


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
    """A picture of one image to draw lines and text on, enlarged in whole steps where the image is small."""

    def __init__(self, rgb: RGB) -> None:
        self.scale = max(1, min(-(-SMALLEST // min(rgb.shape[:2])), LARGEST // max(rgb.shape[:2])))
        self.picture = Image.fromarray(rgb.repeat(self.scale, axis=0).repeat(self.scale, axis=1))
        self._draw = ImageDraw.Draw(self.picture)
        self._size = max(12, min(self.picture.size) // 42)
        self._width = max(2, min(self.picture.size) // 300)
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
        for row, text in enumerate(_fitting(lines, self._room, "...")):
            self._write((self._size / 2, self._size * (0.5 + row * SPACING)), text, WHITE)

    def legend(self, entries: Sequence[tuple[str, Colour]]) -> None:
        """Write names and colours from the bottom left corner up, as many as there is room for."""
        for row, (text, tint) in enumerate(reversed(_fitting(entries, self._room, ("...", BLACK)))):
            x, y = self._size / 2, self.picture.height - (row + 1.4) * self._size * SPACING
            self._draw.rectangle([x, y + 2, x + self._size, y + self._size + 2], fill=tint, outline=BLACK)
            self._write((x + self._size * 1.5, y), text, WHITE)

    def _at(self, place: Place) -> tuple[float, float]:
        x, y = (min(max((value + 0.5) * self.scale, -REACH), REACH) for value in place)
        return x, y

    def _write(self, where: tuple[float, float], text: str, tint: Colour) -> None:
        font, text = load_font(self._size), readable(text)
        left, top, right, bottom = self._draw.textbbox(where, text, font=font, stroke_width=2)
        x = min(where[0], self.picture.width - (right - left) - 2)
        y = min(where[1], self.picture.height - (bottom - where[1]) - 2)
        self._draw.text((max(2, x), max(2, y)), text, fill=tint, font=font, stroke_width=2, stroke_fill=BLACK)


def _fitting(items: Sequence[T], room: int, more: T) -> list[T]:
    return list(items) if len(items) <= room else [*items[: room - 1], more]


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font, which needs no file of the system."""
    return ImageFont.load_default(size)
