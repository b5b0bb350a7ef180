"""Click-seeded region growing on the phantom: it finds the spheres, and depends on the clicks in force alone."""

import random
from collections.abc import Iterator

import numpy as np
import pytest

from gateway import Box, BoxClick, Click, Clicks, Point, StudyRefused
from gateway.dicom.samples.phantom import HEIGHT_MM, SPHERES, WIDTH_MM, datasets
from gateway.testing import assert_overlap
from models.region_growing import Growth, Region, Values

SLICES, SIZE = 32, 128
SPACING = np.array([HEIGHT_MM / SLICES, WIDTH_MM / SIZE, WIDTH_MM / SIZE])
BLOB = SPHERES[0]


@pytest.fixture(scope="module")
def chest() -> Values:
    """The phantom in HU: (slice, row, column) float32."""
    slices = [np.frombuffer(one.PixelData, "<u2") for one in datasets(slices=SLICES, size=SIZE)]
    return np.stack(slices).reshape(SLICES, SIZE, SIZE).astype(np.float32) - 1024


@pytest.fixture
def growth(chest: Values) -> Growth:
    return Growth(chest, SPACING, tolerance=150, reach=60)


def place(x: float, y: float, z: float) -> Point:
    """The voxel of a place in mm; (0, 0, 0) is the centre of the phantom."""
    return Point(
        *((np.array([z, y, x]) + np.array([HEIGHT_MM, WIDTH_MM, WIDTH_MM]) / 2) / SPACING - 0.5).round().tolist()
    )


def sphere(number: int, shape: tuple[int, ...]) -> Region:
    one = SPHERES[number]
    axes = [(np.arange(size) + 0.5 - size / 2) * step for size, step in zip(shape, SPACING, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    apart = (x - one.centre[0]) ** 2 + (y - one.centre[1]) ** 2 + (z - one.centre[2]) ** 2
    return apart <= one.radius**2


def clicks(*points: Point, no: tuple[Point, ...] = (), boxes: tuple[BoxClick, ...] = ()) -> Clicks:
    return Clicks((*map(Click, points), *(Click(point, False) for point in no)), boxes)


@pytest.mark.parametrize("number", [0, 1])
def test_a_click_into_a_sphere_finds_it(growth: Growth, chest: Values, number: int) -> None:
    found = growth.region(clicks(place(*SPHERES[number].centre)))
    assert_overlap(found, sphere(number, chest.shape), at_least=0.75)  # rims are blurred over one voxel


def test_a_second_click_adds_its_region(growth: Growth) -> None:
    one, two = place(*SPHERES[0].centre), place(*SPHERES[1].centre)
    both = growth.region(clicks(one, two))
    assert np.array_equal(both, growth.region(clicks(one)) | growth.region(clicks(two)))


def test_a_region_stays_within_the_reach_of_its_click(chest: Values) -> None:
    muscle = place(0, 95, 0)
    found = Growth(chest, SPACING, tolerance=150, reach=40).region(clicks(muscle))
    away = (np.argwhere(found) - muscle) * SPACING
    assert 30 < np.sqrt((away**2).sum(axis=1)).max() <= 40


def test_a_negative_click_cuts_off_what_is_nearer_to_it(growth: Growth) -> None:
    one = place(-140, 0, 0)
    whole = growth.region(clicks(one))
    other = Point(*max(np.argwhere(whole).tolist(), key=lambda voxel: abs(voxel[0] - one.slice)))
    cut = growth.region(clicks(one, no=(other,)))
    assert cut[one.voxel]
    assert not cut[other.voxel]
    assert 0 < cut.sum() < whole.sum()
    assert not (cut & ~whole).any()


def test_a_negative_click_far_from_the_region_changes_nothing(growth: Growth) -> None:
    one = place(*BLOB.centre)
    assert np.array_equal(growth.region(clicks(one, no=(place(0, 0, 0),))), growth.region(clicks(one)))


def box(first: Point, last: Point, *, positive: bool = True) -> BoxClick:
    return BoxClick(Box(first, last), positive)


def test_a_box_bounds_the_click_in_it(growth: Growth) -> None:
    muscle = place(-140, 0, 0)
    first = Point(muscle.slice - 2, muscle.row - 3, muscle.column - 3)
    last = Point(muscle.slice + 2, muscle.row + 3, muscle.column + 3)
    found = growth.region(clicks(muscle, boxes=(box(first, last),)))
    assert found.any()
    assert (np.argwhere(found) >= first).all()
    assert (np.argwhere(found) <= last).all()


def test_a_box_without_a_click_is_a_seed(growth: Growth, chest: Values) -> None:
    steps = np.ceil(BLOB.radius / SPACING)
    centre = place(*BLOB.centre)
    around = box(Point(*(centre - steps)), Point(*(centre + steps)))
    assert_overlap(growth.region(clicks(boxes=(around,))), sphere(0, chest.shape), at_least=0.75)


def test_a_negative_box_clears_what_is_in_it(growth: Growth) -> None:
    one = place(-140, 0, 0)
    slab = box(Point(0, 0, 0), Point(one.slice - 1, SIZE - 1, SIZE - 1), positive=False)
    found = growth.region(clicks(one, boxes=(slab,)))
    assert found.any()
    assert not found[: int(one.slice)].any()


@pytest.mark.parametrize("point", [Point(-1, 0, 0), Point(0, SIZE, 0), Point(0, 0, 1e9)])
def test_a_click_outside_is_refused(growth: Growth, point: Point) -> None:
    with pytest.raises(StudyRefused):
        growth.region(clicks(point))


def test_nothing_is_found_without_a_click(growth: Growth) -> None:
    assert not growth.region(Clicks()).any()
    assert not growth.region(clicks(no=(place(0, 0, 0),))).any()


def session(count: int, seed: int) -> Iterator[Clicks]:
    """The clicks in force after each of ``count`` inputs: points of both signs, some boxes, some undone."""
    chosen = random.Random(seed)
    inputs: list[Click | BoxClick] = []
    for _ in range(count):
        corner = Point(chosen.randrange(SLICES), chosen.randrange(20, 100), chosen.randrange(10, 110))
        if inputs and chosen.random() < 0.3:
            del inputs[-chosen.randint(1, min(3, len(inputs))) :]
        elif chosen.random() < 0.1:
            far = Point(min(SLICES - 1, corner.slice + 5), corner.row + 15, corner.column + 15)
            inputs.append(BoxClick(Box(corner, far), chosen.random() < 0.5))
        else:
            inputs.append(Click(corner, chosen.random() < 0.7))
        points = tuple(one for one in inputs if isinstance(one, Click))
        yield Clicks(points, tuple(one for one in inputs if isinstance(one, BoxClick)))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_session_is_the_same_as_all_its_clicks_at_once_in_any_order(chest: Values, seed: int) -> None:
    growth = Growth(chest, SPACING, tolerance=150, reach=40)
    for number, in_force in enumerate(session(60, seed), 1):
        found = growth.region(in_force)
        if number % 20 == 0:
            fresh = Growth(chest, SPACING, tolerance=150, reach=40)
            assert np.array_equal(found, fresh.region(Clicks(in_force.points[::-1], in_force.boxes[::-1])))
