"""The anatomy of the phantom: a chest that never was.

Every shape is a signed distance in millimetres, so edges blend over one pixel as they do in a scanner. Coordinates are
patient millimetres LPS with (0, 0, 0) at the centre; x is (1, columns), y is (rows, 1), float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

AIR, LUNG, FAT, MUSCLE, BLOOD, MARROW, BONE = -1000.0, -840.0, -95.0, 52.0, 120.0, 250.0, 620.0


@dataclass(frozen=True)
class Sphere:
    """A sphere: its centre (x, y, z) in patient mm LPS, its radius in mm, its value in HU."""

    centre: tuple[float, float, float]
    radius: float
    hounsfield: float


SPHERES = (
    Sphere((-82.0, -12.0, -18.0), 11.0, 40.0),
    Sphere((88.0, 22.0, 12.0), 8.0, 60.0),
    Sphere((-70.0, 40.0, 36.0), 6.0, 30.0),
    Sphere((62.0, -38.0, -44.0), 5.0, 300.0),
    Sphere((-104.0, 8.0, 4.0), 4.0, 700.0),
)
"""The spheres of the phantom, clear of each other: the one of 300 HU in the heart, all others in the lungs."""


def hounsfield_slice(x: Plane, y: Plane, z: float, blur: float) -> Plane:
    """The axial plane at ``z`` mm without noise: (rows, columns) float32 HU, edges ``blur`` mm wide."""
    image = np.full(np.broadcast_shapes(x.shape, y.shape), AIR, dtype=np.float32)
    for distance, hounsfield in _shapes(x, y, z):
        inside = np.clip(0.5 - distance / blur, 0, 1)
        image += inside * (np.float32(hounsfield) - image)
    return image


def _shapes(x: Plane, y: Plane, z: float) -> Iterator[tuple[Plane, float]]:
    """The painted shapes, first to last: signed distance in mm (negative inside) and HU."""
    waist = 1 + 0.02 * np.sin(z / 50)
    skin = _ellipse(x, y, (0, 0), (158 * waist, 112 * waist))
    yield skin, FAT
    yield skin + 12, MUSCLE
    yield from _lungs(x, y, z)
    yield from _mediastinum(x, y, z)
    yield from _bones(x, y, z)
    for sphere in SPHERES:
        yield _ellipsoid(x, y, z, sphere.centre, (sphere.radius,) * 3), sphere.hounsfield
    couch = np.abs(_ellipse(x, y, (0, 480), (330, 352))) - 1.2
    yield np.maximum(couch, np.abs(x) - 150), -300.0


def _lungs(x: Plane, y: Plane, z: float) -> Iterator[tuple[Plane, float]]:
    for side in (-1, 1):
        lung = _ellipsoid(x, y, z, (side * 78, 2, -4), (52, 78, 118))
        yield lung, LUNG
        for number in range(7):
            angle = number * 0.9 + z / 38 + side
            reach = 12 + 5.5 * number
            centre = (side * (62 + reach * np.cos(angle) * 0.75), 4 + reach * np.sin(angle))
            vessel = _ellipse(x, y, centre, (3.4 - 0.3 * number,) * 2)
            yield np.maximum(vessel, lung + 4), 20.0


def _mediastinum(x: Plane, y: Plane, z: float) -> Iterator[tuple[Plane, float]]:
    heart = _ellipsoid(x, y, z, (22, -34, -34), (58, 46, 56))
    yield heart, MUSCLE
    yield heart + 11, BLOOD
    yield _ellipsoid(x, y, z, (-60, 0, -100), (86, 84, 62)), 62.0
    yield _ellipse(x, y, (26, 44), (12, 12)), BLOOD
    yield _ellipsoid(x, y, z, (4, -22, 62), (44, 15, 14)), BLOOD
    yield _ellipse(x, y, (-4, 12), (9, 8)), MUSCLE
    yield _ellipse(x, y, (-4, 12), (7, 6)), AIR


def _bones(x: Plane, y: Plane, z: float) -> Iterator[tuple[Plane, float]]:
    disc = 0.5 + 0.5 * np.cos(z * 2 * np.pi / 26)
    vertebra = _ellipse(x, y, (0, 66), (19, 15))
    yield np.minimum(vertebra, _ellipse(x, y, (0, 88), (15, 10))), BONE * (0.35 + 0.65 * disc)
    yield vertebra + 3, MARROW * (0.4 + 0.6 * disc)
    yield _ellipse(x, y, (0, 86), (8, 7)), 30.0
    yield np.maximum(_ellipse(x, y, (0, 101), (4, 12)), y - 108), BONE
    yield _ellipse(x, y, (0, -92), (17, 5)), BONE
    yield _ellipse(x, y, (0, -92), (14, 2.5)), MARROW
    wall = _ellipse(x, y, (0, 0), (141, 95))
    turn = np.arctan2(np.abs(x), y) * 26
    rib = np.abs((turn + z + 400) % 26 - 13) - 6.5
    yield np.maximum(np.maximum(np.abs(wall) - 3.6, rib), 24 - np.abs(x)), BONE
    yield np.maximum(np.maximum(np.abs(wall) - 1.8, rib + 2), 26 - np.abs(x)), MARROW


def _ellipse(x: Plane, y: Plane, centre: tuple[float, float], radii: tuple[float, float]) -> Plane:
    return _ellipsoid(x, y, 0.0, (*centre, 0.0), (*radii, 1.0))


def _ellipsoid(
    x: Plane, y: Plane, z: float, centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> Plane:
    """Signed distance to an ellipsoid in mm, to first order, exact for a sphere: k0 (k0 - 1) / k1."""
    u, v, w = x - np.float32(centre[0]), y - np.float32(centre[1]), z - centre[2]
    a, b, c = (float(radius) for radius in radii)
    k0 = np.sqrt((u / a) ** 2 + (v / b) ** 2 + (w / c) ** 2)
    k1 = np.sqrt((u / a**2) ** 2 + (v / b**2) ** 2 + (w / c**2) ** 2)
    return np.asarray(k0 * (k0 - 1) / np.maximum(k1, 1e-6), dtype=np.float32)
