"""A region of a CT that grows from clicks: the tissue around each positive one, less what negative ones cut off.

A click session shows the region after each click; a plain run takes all clicks in one answer and returns the same.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from gateway import Ask, Box, Clicks, Interactive, Mask, Point, Requires, StudyRefused, Volume

Region = NDArray[np.bool_]
Values = NDArray[np.float32]
Indices = NDArray[np.intp]
Voxel = tuple[int, int, int]
Window = tuple[slice, slice, slice]

SMOOTHING_MM = 0.8
"""Standard deviation of the smoothing within slices: noise would leave holes, and set what a click refers to."""
HOLE_MM2 = 40.0
"""Area of holes in a slice that are filled, such as vessels; larger ones are another tissue."""
NEAR_MM = 3.0
"""How far beside the region a negative click may lie and still cut it."""
GROWN_BYTES = 64 << 20
"""Bytes of the regions of single seeds that are reused; each takes some 200 KB at most with the usual reach."""
LONGEST_STEP = 64
"""Steps along the finest axis that one along another counts at most."""

Tolerance = Annotated[float, Field(ge=1, le=2000, description="HU by which the region may differ from the click")]
Reach = Annotated[float, Field(ge=5, le=300, description="mm from a click within which its region grows")]
CT = Annotated[Volume, Requires(modality="CT")]


def grow(volume: CT, tolerance: Tolerance = 50, reach: Reach = 60) -> Interactive[Mask]:
    """Grow a region from clicks until the caller has finished.

    A positive box bounds the clicks in it, and is a seed itself without any. A negative box clears what is in it.
    """
    growth = Growth(volume.array, volume.spacing, tolerance, reach)
    clicks, region = Clicks(), np.zeros(volume.shape, bool)
    while not clicks.finished:
        clicks = yield Ask("Click into the region.", kind="clicks", shown=Mask(region, "Region"))
        region = growth.region(clicks)
    return Mask(region, "Region")


class Extent(NamedTuple):
    """A box of voxels, along (slice, row, column); ``stop`` is outside."""

    start: Voxel
    stop: Voxel

    def window(self, origin: Voxel = (0, 0, 0)) -> Window:
        """Return its slices in an array whose first voxel is ``origin``."""
        one, two, three = (slice(a - o, b - o) for a, b, o in zip(*self, origin, strict=True))
        return one, two, three

    @property
    def shape(self) -> Voxel:
        """Voxels along each axis: slices, rows, columns."""
        one, two, three = (b - a for a, b in zip(*self, strict=True))
        return one, two, three

    def holds(self, other: "Extent") -> bool:
        """Return True if all of ``other`` lies in it."""
        inside = zip(*self, *other, strict=True)
        return all(a <= c and d <= b for a, b, c, d in inside)


class Seed(NamedTuple):
    """Where a region begins, and the boxes that bound it; without one the reach does."""

    begin: Extent
    bounds: tuple[Extent, ...] = ()


class Grown(NamedTuple):
    """The region of a seed: its extent, its voxels there in packed bits, and the flat indices where it begins."""

    extent: Extent
    bits: NDArray[np.uint8]
    begin: Indices

    def add_to(self, region: Region) -> None:
        """Add it to a region of the whole volume."""
        inside = region[self.extent.window()]
        inside |= np.unpackbits(self.bits, count=inside.size).reshape(inside.shape).view(bool)


class Growth:
    """The regions of one volume: ``values`` are (slice, row, column) HU, ``spacing`` is in mm along these axes.

    A region depends on the clicks in force alone, and not on their order or on earlier ones. What earlier clicks have
    grown is reused.
    """

    def __init__(self, values: Values, spacing: NDArray[np.float64], tolerance: float, reach: float) -> None:
        """``tolerance`` is in HU, ``reach`` in mm."""
        self._values, self._tolerance, self._reach = values, tolerance, reach
        self._spacing = spacing
        self._smooth: dict[int, Values] = {}
        self._grown: OrderedDict[Seed, Grown] = OrderedDict()
        self._united: tuple[frozenset[Seed], Region] = frozenset(), np.zeros(values.shape, bool)

    def region(self, clicks: Clicks) -> Region:
        """Return the region of these clicks, (slice, row, column) bool. Raises StudyRefused for one outside."""
        seeds = frozenset(self._seeds(clicks))
        region = self._unite(seeds).copy()
        erased = [self._extent(one.box) for one in clicks.boxes if not one.positive]
        for extent in erased:
            region[extent.window()] = False
        hits = [self._hit(self._voxel(click.point), region) for click in clicks.points if not click.positive]
        cuts = [hit for hit in hits if hit is not None]
        if not (erased or cuts):
            return region
        begins = [self._grow_once(seed).begin for seed in seeds] or [np.empty(0, np.intp)]
        return self._cut(region, np.concatenate(begins), np.array(cuts, np.intp))

    def _seeds(self, clicks: Clicks) -> Iterator[Seed]:
        """Yield the seeds of positive clicks, and of positive boxes that have no click in them."""
        boxes = sorted(self._extent(one.box) for one in clicks.boxes if one.positive)
        voxels = [self._voxel(click.point) for click in clicks.points if click.positive]
        for voxel in voxels:
            yield Seed(voxel, tuple(box for box in boxes if box.holds(voxel)))
        for box in boxes:
            if not any(map(box.holds, voxels)):
                yield Seed(_middle(box), (box,))

    def _voxel(self, point: Point) -> Extent:
        return self._inside(point.voxel, [at + 1 for at in point.voxel])

    def _extent(self, box: Box) -> Extent:
        return self._inside(box.first.voxel, [at + 1 for at in box.last.voxel])

    def _inside(self, start: Sequence[int], stop: Sequence[int]) -> Extent:
        """Return an extent. Raises StudyRefused where it leaves the volume."""
        if min(start) < 0 or any(end > size for end, size in zip(stop, self._values.shape, strict=True)):
            raise StudyRefused("A click lies outside of the volume: give voxels as (slice, row, column), from 0.")
        return Extent((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def _unite(self, seeds: frozenset[Seed]) -> Region:
        """Return the union of the regions of all seeds; where seeds were only added, it is the last one with theirs."""
        known, region = self._united
        if not known <= seeds:
            known, region = frozenset(), np.zeros(self._values.shape, bool)
        for seed in seeds - known:
            self._grow_once(seed).add_to(region)
        self._united = seeds, region
        return region

    def _grow_once(self, seed: Seed) -> Grown:
        grown = self._grown.pop(seed, None) or self._grow(seed)
        self._grown[seed] = grown
        while len(self._grown) > 1 and sum(one.bits.nbytes for one in self._grown.values()) > GROWN_BYTES:
            self._grown.popitem(last=False)
        return grown

    def _grow(self, seed: Seed) -> Grown:
        """Return the connected voxels around a seed whose smoothed HU are within the tolerance of its own."""
        extent = self._reachable(seed)
        window, begin = extent.window(), seed.begin.window(extent.start)
        smooth = np.stack([self._plane(index)[window[1:]] for index in range(extent.start[0], extent.stop[0])])
        own_value = np.percentile(smooth[begin], 50, method="lower")
        alike = (np.abs(smooth - own_value) <= self._tolerance) & self._allowed(seed, extent)
        labels, _ = ndimage.label(alike)  # of 6 neighbours
        own = int(np.bincount(labels[begin][alike[begin]]).argmax())
        inner = ndimage.find_objects(labels, max_label=own)[own - 1]
        started = np.argwhere(labels[begin] == own) + seed.begin.start
        start = [a + s.start for a, s in zip(extent.start, inner, strict=True)]
        stop = [a + s.stop for a, s in zip(extent.start, inner, strict=True)]
        bits = np.packbits(self._filled(labels[inner] == own))
        return Grown(self._inside(start, stop), bits, self._flat(started))

    def _flat(self, voxels: NDArray[np.intp]) -> Indices:
        return np.ravel_multi_index((voxels[:, 0], voxels[:, 1], voxels[:, 2]), self._values.shape)

    def _reachable(self, seed: Seed) -> Extent:
        """Return the extent within which a seed grows: that of its boxes, else of its reach."""
        if seed.bounds:
            starts, stops = zip(*seed.bounds, strict=True)
            return self._inside(
                [min(axis) for axis in zip(*starts, strict=True)], [max(axis) for axis in zip(*stops, strict=True)]
            )
        steps = (self._reach / self._spacing).astype(int)
        start = np.maximum(np.array(seed.begin.start) - steps, 0)
        stop = np.minimum(np.array(seed.begin.stop) + steps, self._values.shape)
        return self._inside(start.tolist(), stop.tolist())

    def _allowed(self, seed: Seed, extent: Extent) -> Region:
        """Return the voxels of the extent that lie in the seed's boxes, or within its reach."""
        if seed.bounds:
            allowed = np.zeros(extent.shape, bool)
            for box in seed.bounds:
                allowed[box.window(extent.start)] = True
            return allowed
        away = [
            ((np.arange(a, b) - at) * step) ** 2
            for a, b, at, step in zip(*extent, seed.begin.start, self._spacing, strict=True)
        ]
        return np.asarray(away[0][:, None, None] + away[1][:, None] + away[2] <= self._reach**2)

    def _plane(self, index: int) -> Values:
        """Return a slice, smoothed."""
        if index not in self._smooth:
            self._smooth[index] = ndimage.gaussian_filter(self._values[index], SMOOTHING_MM / self._spacing[1:])
        return self._smooth[index]

    def _filled(self, region: Region) -> Region:
        """Return the region without its small holes in slices."""
        neighbours = ndimage.generate_binary_structure(3, 1)
        neighbours[::2] = False
        labels, _ = ndimage.label(~region, neighbours)
        small = np.bincount(labels.ravel()) * self._spacing[1] * self._spacing[2] <= HOLE_MM2
        for edge in (labels[:, [0, -1]], labels[:, :, [0, -1]]):  # open to the outside
            small[np.unique(edge)] = False
        small[0] = False
        return np.asarray(region | small[labels])

    def _hit(self, click: Extent, region: Region) -> int | None:
        """Return the flat index of the voxel at which a negative click cuts the region; None where it is far off."""
        steps = (NEAR_MM / self._spacing).astype(int)
        start = np.maximum(np.array(click.start) - steps, 0)
        stop = np.minimum(np.array(click.stop) + steps, region.shape)
        near = np.argwhere(region[self._inside(start.tolist(), stop.tolist()).window()]) + start
        apart = (((near - click.start) * self._spacing) ** 2).sum(axis=1)
        if not len(near) or apart.min() > NEAR_MM**2:
            return None
        return int(self._flat(near[[apart.argmin()]])[0])

    def _cut(self, region: Region, begins: Indices, cuts: Indices) -> Region:
        """Return the voxels that are nearer to where the region begins than to a cut, by the way through it in mm."""
        window = ndimage.find_objects(region.view(np.uint8))
        if not window:
            return region
        inside = np.pad(region[window[0]], 1)
        steps = np.clip(np.rint(self._spacing / self._spacing.min()), 1, LONGEST_STEP).astype(int)
        fronts = [self._moved(found[region.flat[found]], window[0], inside.shape) for found in (cuts, begins)]
        remaining = np.zeros_like(region)
        remaining[window[0]] = _reached_first(inside, fronts, steps)[1:-1, 1:-1, 1:-1]
        return remaining

    def _moved(self, found: Indices, window: Window, shape: Sequence[int]) -> Indices:
        """Return flat indices of the volume as those of its ``window`` with a voxel more on each side."""
        voxels = np.unravel_index(found, self._values.shape)
        moved = [axis - part.start + 1 for axis, part in zip(voxels, window, strict=True)]
        flat: Indices = np.ravel_multi_index(tuple(moved), tuple(shape))
        return flat


def _reached_first(inside: Region, fronts: Sequence[Indices], steps: NDArray[np.int_]) -> Region:
    """Return the voxels of ``inside`` that the last of two fronts reaches before the other does.

    Both go on at once through faces of voxels, a step along an axis in the time that ``steps`` has for it (Dial 1969).
    ``inside`` has a margin of one voxel that is False.
    """
    unreached, ours = inside.ravel().copy(), np.zeros(inside.size, bool)
    once = np.zeros(inside.size, np.intp)
    waves: dict[int, list[list[Indices]]] = defaultdict(lambda: [[], []])
    waves[0] = [[front] for front in fronts]
    strides = [size // inside.itemsize for size in inside.strides]
    time = 0
    while waves:
        for side, parts in enumerate(waves.pop(time, [[], []])):
            front = np.concatenate([*parts, np.empty(0, np.intp)])
            front = front[unreached[front]]
            once[front] = np.arange(len(front))
            front = front[once[front] == np.arange(len(front))]  # each voxel once
            unreached[front] = False
            ours[front] = side == 1
            for stride, step in zip(strides, steps, strict=True):
                for away in (front - stride, front + stride):
                    if len(away := away[unreached[away]]):
                        waves[time + int(step)][side].append(away)
        time += 1
    return ours.reshape(inside.shape)


def _middle(box: Extent) -> Extent:
    """Return the middle half of a box along each axis."""
    cut = [(b - a) // 4 for a, b in zip(*box, strict=True)]
    return Extent(
        (box.start[0] + cut[0], box.start[1] + cut[1], box.start[2] + cut[2]),
        (box.stop[0] - cut[0], box.stop[1] - cut[1], box.stop[2] - cut[2]),
    )
