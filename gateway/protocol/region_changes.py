"""Changes of a region: what differs between two masks, in few bytes, for a caller that has the first of them.

A change is a box and the bytes of one of two encodings, whichever are fewer, both compressed by zlib (RFC 1950):

``values``
    those of the box, uint8, (slice, row, column), C order
``runs``
    three little-endian uint32 for each run of changed voxels, in the order of the box: how many voxels lie between it
    and the run before, how many it has, and their new value
"""

import base64
import binascii
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
"""A region: uint8, (slice, row, column), 0 for the outside."""
Bounds = tuple[tuple[int, int, int], tuple[int, int, int]]
"""The first voxel of a box along (slice, row, column), and the one behind its last."""

VALUES, RUNS = "values", "runs"
RUN = np.dtype(("<u4", 3))
FEW = 1 << 10
"""Bytes of runs below which the other encoding is not tried."""
MOST = 1 << 32
"""Voxels of a region: 16,000 slices of 512 x 512."""
LEVEL = 1
"""zlib's fastest level: a click waits, and masks are simple."""


@dataclass(frozen=True)
class RegionChange:
    """The difference between the region ``since`` and the region ``sequence``; the region 0 has no voxel.

    ``bounds`` is None where the two are equal. ``voxels`` is the number of those that differ.
    """

    since: int
    sequence: int
    shape: tuple[int, int, int]
    bounds: Bounds | None = None
    voxels: int = 0
    encoding: str = RUNS
    data: bytes = b""

    @classmethod
    def between(cls, before: Labels | None, after: Labels, since: int, sequence: int) -> "RegionChange":
        """Return the change from ``before``, None for the region 0, to ``after``, both of one shape."""
        shape = (after.shape[0], after.shape[1], after.shape[2])
        differs = after != (0 if before is None else before)
        bounds = _bounds(differs)
        if bounds is None:
            return cls(since, sequence, shape)
        window = _window(bounds)
        inside, changed = after[window], differs[window]
        data, encoding = zlib.compress(_runs(inside, changed).tobytes(), LEVEL), RUNS
        if len(data) > FEW and len(values := zlib.compress(inside.tobytes(), LEVEL)) < len(data):
            data, encoding = values, VALUES
        return cls(since, sequence, shape, bounds, int(np.count_nonzero(changed)), encoding, data)

    @classmethod
    def within(cls, labels: Labels, bounds: Bounds, sequence: int) -> "RegionChange":
        """Return all values of a box of the region ``sequence``, changed or not, whichever of them are 0.

        Raises ValueError for a box that leaves the region.
        """
        shape = (labels.shape[0], labels.shape[1], labels.shape[2])
        if not _lies_in(bounds, shape):
            raise ValueError("the box leaves the region")
        inside = labels[_window(bounds)]
        return cls(sequence, sequence, shape, bounds, inside.size, VALUES, zlib.compress(inside.tobytes(), LEVEL))

    def empty(self) -> Labels:
        """Return the region 0. Raises ValueError for one of more than ``MOST`` voxels."""
        if min(self.shape) < 1 or math.prod(self.shape) > MOST:
            raise ValueError("a change of a region that is empty, or too large")
        return np.zeros(self.shape, np.uint8)

    def words(self) -> dict[str, Any]:
        """Return it as JSON, its data in base64 (RFC 4648 4)."""
        return {
            "since": self.since,
            "sequence": self.sequence,
            "shape": list(self.shape),
            "box": None if self.bounds is None else [list(corner) for corner in self.bounds],
            "voxels": self.voxels,
            "encoding": self.encoding,
            "data": base64.b64encode(self.data).decode("ascii"),
        }

    @classmethod
    def of(cls, words: Mapping[str, Any]) -> "RegionChange":
        """Return the change that JSON describes. Raises ValueError for JSON that describes none."""
        try:
            box = words["box"]
            bounds = None if box is None else (_voxel(box[0]), _voxel(box[1]))
            numbers = int(words["since"]), int(words["sequence"]), _voxel(words["shape"])
            data = base64.b64decode(words["data"], validate=True)
            return cls(*numbers, bounds, int(words["voxels"]), str(words["encoding"]), data)
        except (KeyError, IndexError, TypeError, OverflowError, binascii.Error) as error:
            raise ValueError(f"not a change of a region: {type(error).__name__}") from error

    def values(self) -> Labels:
        """Return what the box has now, where that is the encoding. Raises ValueError for another, or broken data."""
        if self.encoding != VALUES or self.bounds is None:
            raise ValueError("a change without the values of its box")
        sizes = [stop - first for first, stop in zip(*self.bounds, strict=True)]
        data = _inflated(self.data, math.prod(sizes))
        return np.frombuffer(data, np.uint8).reshape(sizes)

    def apply(self, region: Labels) -> None:
        """Change ``region``, the one ``since``, to the one ``sequence``. Raises ValueError for a change of another."""
        if region.shape != self.shape:
            raise ValueError(f"a change of a region of {self.shape} voxels, not of {region.shape}")
        if self.bounds is None:
            return
        if not _lies_in(self.bounds, self.shape):
            raise ValueError("the box of a change leaves its region")
        inside = region[_window(self.bounds)]
        if self.encoding == VALUES:
            inside[...] = self.values()
        elif self.encoding == RUNS:
            inside[...] = _changed(inside, np.frombuffer(_inflated(self.data, RUN.itemsize * inside.size), "<u4"))
        else:
            raise ValueError("the encoding of a change is neither values nor runs")


def joined_bounds(*boxes: Bounds | None) -> Bounds | None:
    """Return the smallest box around some, None where there is none."""
    corners = [box for box in boxes if box is not None]
    if not corners:
        return None
    firsts, stops = np.min([box[0] for box in corners], axis=0), np.max([box[1] for box in corners], axis=0)
    return _voxel(firsts), _voxel(stops)


def _lies_in(bounds: Bounds, shape: tuple[int, int, int]) -> bool:
    return all(0 <= first < stop <= size for first, stop, size in zip(*bounds, shape, strict=True))


def _voxel(values: Any) -> tuple[int, int, int]:
    one, two, three = values
    return int(one), int(two), int(three)


def _window(bounds: Bounds) -> tuple[slice, slice, slice]:
    one, two, three = (slice(first, stop) for first, stop in zip(*bounds, strict=True))
    return one, two, three


def _bounds(differs: NDArray[np.bool_]) -> Bounds | None:
    """Return the smallest box around the true voxels; None without one."""
    slices = np.flatnonzero(differs.any(axis=(1, 2)))
    if not len(slices):
        return None
    inside = differs[slices[0] : slices[-1] + 1]
    rows, columns = (np.flatnonzero(inside.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    first = int(slices[0]), int(rows[0]), int(columns[0])
    return first, (int(slices[-1]) + 1, int(rows[-1]) + 1, int(columns[-1]) + 1)


def _runs(after: Labels, changed: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return (run, 3) uint32 for the runs of changed voxels of one new value; at least one voxel has changed."""
    places = np.flatnonzero(changed)
    values = after[changed]
    begins = np.flatnonzero(np.diff(places, prepend=-2) - 1 | np.diff(values, prepend=values[:1]))
    starts, lengths = places[begins], np.diff(begins, append=len(places))
    between = np.diff(starts, prepend=0)
    between[1:] -= lengths[:-1]
    return np.stack([between, lengths, values[begins]], axis=1).astype("<u4")


def _changed(inside: Labels, numbers: NDArray[np.uint32]) -> Labels:
    """Return a box with its runs changed. Raises ValueError for runs that leave it."""
    if len(numbers) % 3:
        raise ValueError("the runs of a change are cut off")
    runs = numbers.reshape(-1, 3).astype(np.int64)
    stops = np.cumsum(runs[:, 0] + runs[:, 1])
    if len(runs) and (stops[-1] > inside.size or runs[:, 2].max() > 255):
        raise ValueError("the runs of a change leave its box")
    values = inside.flatten()
    for stop, (_, length, value) in zip(stops.tolist(), runs.tolist(), strict=True):
        values[stop - length : stop] = value
    return values.reshape(inside.shape)


def _inflated(data: bytes, most: int) -> bytes:
    """Return the bytes of ``data``, at most ``most``. Raises ValueError for others, and for broken ones."""
    inflating = zlib.decompressobj()
    try:
        found = inflating.decompress(data, most)
    except zlib.error as error:
        raise ValueError("the data of a change is broken") from error
    if not inflating.eof:
        raise ValueError("the data of a change is cut off, or too much")
    return found
