"""Colours that most eyes can tell apart, and palettes that turn 0 to 255 into RGBA."""

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
LUT = NDArray[np.uint8]
Anchors = Sequence[tuple[float, Sequence[int]]]
"""Places of 0 to 1 with their RGBA of 0 to 255."""

CATEGORICAL: tuple[Colour, ...] = (
    (213, 94, 0),
    (86, 180, 233),
    (240, 228, 66),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (0, 114, 178),
)
"""The palette of Okabe and Ito (2008), which holds for the common kinds of colour blindness; bold ones first."""

DEFAULT_HEAT: Anchors = (
    (0.0, (0, 0, 4, 0)),
    (0.25, (87, 16, 110, 90)),
    (0.5, (188, 55, 84, 150)),
    (0.75, (249, 142, 9, 200)),
    (1.0, (252, 255, 164, 235)),
)
"""Dark to bright in even steps of lightness, clear where there is nothing."""


def colour(index: int) -> Colour:
    """Return the colour of the ``index``-th category, from 0; beyond the table by the golden angle."""
    if index < len(CATEGORICAL):
        return CATEGORICAL[index]
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.65, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def lut_of(palette: Anchors | None) -> LUT:
    """Return (256, 4) uint8 RGBA, linear between anchor points; of the default palette for None."""
    points = DEFAULT_HEAT if palette is None else palette
    places = [float(place) for place, _ in points]
    colours = np.array([rgba for _, rgba in points], float)
    steps = np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, places, channel) for channel in colours.T], axis=-1).round().astype(np.uint8)
