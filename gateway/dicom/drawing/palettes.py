"""Colours that stay apart for most eyes, and palettes that turn 0 to 255 into RGBA."""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
LUT = NDArray[np.uint8]

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

DEFAULT_HEAT = [
    {"threshold": 0.0, "color": [0, 0, 4, 0]},
    {"threshold": 0.25, "color": [87, 16, 110, 90]},
    {"threshold": 0.5, "color": [188, 55, 84, 150]},
    {"threshold": 0.75, "color": [249, 142, 9, 200]},
    {"threshold": 1.0, "color": [252, 255, 164, 235]},
]
"""Dark to bright in even steps of lightness, clear where there is nothing."""


def colour(index: int) -> Colour:
    """The colour of the ``index``-th category, from 0; beyond the table by the golden angle."""
    if index < len(CATEGORICAL):
        return CATEGORICAL[index]
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.65, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def from_anchorpoints(points: Sequence[dict[str, Any]]) -> LUT:
    """(256, 4) uint8 RGBA, linear between anchor points with a ``threshold`` of 0 to 1 and a ``color`` of RGBA."""
    places = [float(point["threshold"]) for point in points]
    colours = np.array([point["color"] for point in points], float)
    steps = np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, places, channel) for channel in colours.T], axis=-1).round().astype(np.uint8)


def from_palette(palette: dict[str, Any] | None) -> LUT:
    """(256, 4) uint8 RGBA of a palette of protocol 1.0, ``anchorpoints`` or ``lut``; of the default for None."""
    if palette is None:
        return from_anchorpoints(DEFAULT_HEAT)
    if palette.get("type") == "lut":
        return np.array(palette["data"], np.uint8).reshape(256, 4)
    return from_anchorpoints(palette["data"])
