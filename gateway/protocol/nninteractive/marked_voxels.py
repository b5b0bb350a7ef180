"""What a person has marked: a few voxels that stand for it, and the inside of an outline."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Marked = NDArray[np.bool_]
Voxels = NDArray[np.intp]
"""(voxel, 3): slice, row, column."""

POINTS = 16
"""Points that stand for a scribble or a lasso at most: a model may work for some 10 ms on each."""
APART = 8.0
"""Voxels between two of them at least: what lies nearer is most often the same tissue."""
LOOKED_AT = 4_096
"""Voxels of a mask that are looked at: a scribble across an image has some hundreds."""
SWEEPS = 64
"""Sweeps in which an outline is filled: one for each turn of the way into it."""


def spread(voxels: Voxels) -> Voxels:
    """Return a few voxels that stand for all, in the middle of what is nearest to each of them.

    Each further one is the farthest from those before (Gonzalez 1985); then it moves to the middle of its part, which
    brings it from the edge of a thick line to its axis.
    """
    looked_at = voxels[:: -(-len(voxels) // LOOKED_AT)]
    middle = looked_at.mean(axis=0)
    chosen, apart = [int(_distances(looked_at, middle).argmin())], np.full(len(looked_at), np.inf)
    nearest = np.zeros(len(looked_at), np.intp)
    while True:
        away = _distances(looked_at, looked_at[chosen[-1]])
        nearest[away < apart] = len(chosen) - 1
        apart = np.minimum(apart, away)
        if len(chosen) == POINTS or apart.max() < APART**2:
            break
        chosen.append(int(apart.argmax()))
    parts = [looked_at[nearest == number] for number in range(len(chosen))]
    return np.array([part[_distances(part, part.mean(axis=0)).argmin()] for part in parts])


def _distances(voxels: Voxels, place: NDArray[Any]) -> NDArray[np.float64]:
    """Return the squared distances, in voxels."""
    return np.asarray(((voxels - place) ** 2).sum(axis=1), np.float64)


def filled(plane: Marked) -> Marked:
    """Return a plane with what its outlines enclose; ``plane`` is (row, column)."""
    walls = np.pad(plane, 1)
    outside = np.zeros_like(walls)
    outside[0] = outside[-1] = outside[:, 0] = outside[:, -1] = True
    for before, after in pairwise(_sweeps(walls, outside)):
        if before == after:
            break
    return ~outside[1:-1, 1:-1]


def _sweeps(walls: Marked, outside: Marked) -> Iterator[int]:
    """Let the outside reach along rows and columns up to the walls; yield how many voxels it has, again and again."""
    runs = [np.cumsum(lines, axis=1) + lines.shape[1] * np.arange(len(lines))[:, None] for lines in (walls, walls.T)]
    for _ in range(SWEEPS):
        yield int(np.count_nonzero(outside))
        for lines, free, run in zip((outside, outside.T), (~walls, ~walls.T), runs, strict=True):
            reached = np.bincount(run[lines & free], minlength=int(run.max()) + 1) > 0
            lines |= reached[run] & free
