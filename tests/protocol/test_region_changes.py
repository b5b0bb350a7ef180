"""Changes of a region: applied in order they are the region, however it changes, and in few bytes."""

import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gateway.protocol.region_changes import FEW, RUNS, VALUES, RegionChange, joined_bounds

SHAPES = st.tuples(*[st.integers(1, 6)] * 3)
REGIONS = SHAPES.flatmap(
    lambda shape: st.lists(arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 2, 255])))
)
CT = (28, 512, 512)


def sent(change: RegionChange) -> RegionChange:
    """The change as its receiver reads it."""
    return RegionChange.of(json.loads(json.dumps(change.words())))


@given(REGIONS)
def test_changes_applied_in_order_are_the_region(regions):
    before = None
    for sequence, after in enumerate(regions, 1):
        mine = np.zeros_like(after) if before is None else before.copy()
        change = sent(RegionChange.between(before, after, sequence - 1, sequence))
        change.apply(mine)
        assert np.array_equal(mine, after)
        assert change.voxels == np.count_nonzero(after != (0 if before is None else before))
        before = after


def test_the_box_is_the_smallest_around_what_differs():
    before, after = np.zeros((2, 9, 9, 9), np.uint8)
    after[2, 3, 4] = after[5, 4, 8] = 1
    assert RegionChange.between(before, after, 1, 2).bounds == ((2, 3, 4), (6, 5, 9))
    assert RegionChange.between(after, after, 2, 3).bounds is None


def test_a_thousand_voxels_anywhere_in_a_series_take_few_bytes():
    random = np.random.default_rng(7)
    after = np.zeros(CT, np.uint8)
    after.flat[random.choice(after.size, 1000, replace=False)] = 1
    change = RegionChange.between(None, after, 0, 1)
    assert change.voxels == 1000
    assert len(json.dumps(change.words())) < 20_000


def test_each_encoding_is_taken_where_it_is_the_smaller_one():
    stripes, noise = np.zeros((2, 4, 64, 64), np.uint8)
    stripes[:, :, ::2] = 1
    assert RegionChange.between(None, stripes, 0, 1).encoding == RUNS
    noise[...] = np.random.default_rng(7).integers(0, 2, noise.shape)
    change = RegionChange.between(None, noise, 0, 1)
    assert change.encoding == VALUES
    assert FEW < len(change.data) < noise.size / 4


BROKEN = {
    "another shape": {"shape": [2, 2, 3]},
    "a box outside": {"box": [[0, 0, 0], [2, 2, 3]]},
    "a box turned round": {"box": [[1, 1, 1], [0, 0, 0]]},
    "a box of two axes": {"box": [[0, 0], [1, 1]]},
    "an unknown encoding": {"encoding": "png"},
    "no base64": {"data": "*"},
    "no zlib": {"data": "AAAA"},
    "bytes for another box": {"encoding": VALUES, "data": "eJxjAAAAAQAB"},
}


@pytest.mark.parametrize("members", BROKEN.values(), ids=BROKEN)
def test_a_change_that_fits_no_region_is_refused(members):
    words = RegionChange.between(None, np.ones((2, 2, 2), np.uint8), 0, 1).words() | members
    with pytest.raises(ValueError, match=r"chang|sequence|broadcast|unpack|reshape"):
        RegionChange.of(words).apply(np.zeros((2, 2, 2), np.uint8))


@pytest.mark.parametrize("numbers", [[0, 9, 1], [7, 2, 1], [0, 1, 256], [0, 1]])
def test_runs_stay_within_their_box(numbers):
    data = zlib.compress(np.array(numbers, "<u4").tobytes())
    change = RegionChange(0, 1, (2, 2, 2), ((0, 0, 0), (2, 2, 2)), 1, RUNS, data)
    with pytest.raises(ValueError, match="change"):
        change.apply(np.zeros((2, 2, 2), np.uint8))


def test_a_change_unfolds_to_no_more_than_its_box():
    data = zlib.compress(bytes(1 << 20))
    change = RegionChange(0, 1, (2, 2, 2), ((0, 0, 0), (2, 2, 2)), 1, VALUES, data)
    with pytest.raises(ValueError, match="too much"):
        change.apply(np.zeros((2, 2, 2), np.uint8))


def test_a_box_of_a_region_has_its_values_changed_or_not():
    region = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    found = sent(RegionChange.within(region, ((1, 2, 3), (3, 5, 6)), 7))
    assert np.array_equal(found.values(), region[1:3, 2:5, 3:6])
    assert (found.since, found.sequence) == (7, 7)
    for bounds in (((0, 0, 0), (5, 5, 6)), ((2, 0, 0), (2, 5, 6)), ((-1, 0, 0), (1, 1, 1))):
        with pytest.raises(ValueError, match="leaves"):
            RegionChange.within(region, bounds, 7)
    with pytest.raises(ValueError, match="values"):
        RegionChange.between(None, region[:1, :1, 1:2], 0, 1).values()


def test_the_box_around_boxes_holds_each_of_them():
    one, other = ((1, 5, 2), (3, 6, 4)), ((0, 7, 3), (2, 9, 4))
    assert joined_bounds(one, None, other) == ((0, 5, 2), (3, 9, 4))
    assert joined_bounds(None, one) == one
    assert joined_bounds(None) is None
