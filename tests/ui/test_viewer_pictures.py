"""What the viewer draws of values, masks and headers, compared with the pictures that the gateway draws itself."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset

from gateway.contract.findings import Heatmap, LabelMask, Mask, ProbabilityMask
from gateway.dicom.decoding.pixels import decode, to_rgb
from gateway.dicom.drawing.layers import blend, layers
from gateway.dicom.drawing.palettes import colour, lut_of
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.volumes.images import volume
from tests.dicom.volumes.volume_series import COLUMNS, ROWS, parts, series, slice_at, stored
from tests.require import require
from tests.ui.viewer_page import CHROMIUM, ViewerPage, opened, picture

pytestmark = pytest.mark.server

WINDOW = {"center": -200.0, "width": 1200.0}
SQUARE = {"PixelSpacing": [1, 1]}
SIDE = 15
"""Pixels of a voxel on the screen: 40 columns fill a pane that is 600 wide."""


@pytest.fixture(scope="module")
def viewer() -> Iterator[ViewerPage]:
    require(CHROMIUM, "chromium is not installed")
    with opened() as page:
        page.page.set_viewport_size({"width": COLUMNS * SIDE, "height": ROWS * SIDE})
        yield page
        assert not page.failures


def bare(viewer: ViewerPage) -> None:
    """Leave the picture alone: no texts, and each voxel a square."""
    viewer.run("() => { viewer.setNoted(false); viewer.setSmooth(false); viewer.goTo([0, 0, 0]); }")


def centres(pixels: np.ndarray) -> np.ndarray:
    """(row, column, 3): the colour at the centre of each voxel."""
    return pixels[SIDE // 2 :: SIDE, SIDE // 2 :: SIDE].astype(int)


def windowed(dataset: Dataset) -> Dataset:
    dataset.WindowCenter, dataset.WindowWidth = WINDOW["center"], WINDOW["width"]
    return dataset


def by_gateway(datasets: list[Dataset], *findings: Any) -> np.ndarray:
    """(row, column, 3) uint8 of the first slice with its findings."""
    files = parts(datasets)
    pixels = volume([read_instance(file) for file in files])
    first = pixels.instances[0]
    kinds = [type(one)(**{**vars_of(one), "of": pixels}) for one in findings]
    return blend(to_rgb(first.header, decode(first.source)), layers(kinds), (first.source, 0)).astype(int)


def vars_of(finding: Any) -> dict[str, Any]:
    return {name: getattr(finding, name) for name in finding.__dataclass_fields__}


BLOB = np.zeros((2, ROWS, COLUMNS), np.uint8)
BLOB[:, 5:12, 8:30] = 1
BLOB[:, 20:33, 0:6] = 2
RAMP = np.broadcast_to(np.linspace(0, 255, COLUMNS).astype(np.uint8), (2, ROWS, COLUMNS)).copy()
OVERLAYS: dict[str, tuple[Any, np.ndarray, dict[str, Any]]] = {
    "mask": (Mask((BLOB > 0).astype(np.uint8)), (BLOB > 0).astype(np.uint8), {"kind": "mask"}),
    "labels": (LabelMask(BLOB, {1: "one", 2: "two"}), BLOB, {"kind": "labels"}),
    "probability": (ProbabilityMask(RAMP, threshold=0.4), RAMP, {"kind": "probability", "threshold": 0.4}),
    "heatmap": (Heatmap(RAMP), RAMP, {"kind": "heatmap"}),
}


@pytest.mark.parametrize("kind", OVERLAYS)
def test_an_overlay_is_the_one_that_the_gateway_draws(viewer: ViewerPage, kind: str) -> None:
    finding, array, facts = OVERLAYS[kind]
    slices = [windowed(slice_at((0, 0, index), index, **SQUARE)) for index in range(2)]
    viewer.load([picture(one) for one in slices])
    bare(viewer)
    plain, wanted = by_gateway(slices), by_gateway(slices, finding)
    assert np.abs(centres(viewer.pixels()) - plain).max() <= 1
    viewer.overlay((array, {"colour": colour(0), **facts}))
    found = centres(viewer.pixels())
    region, inner = regions(array[0], kind)
    assert np.abs(found - wanted)[~region | inner].max() <= 2
    assert ((found != plain).any(axis=-1) == (wanted != plain).any(axis=-1))[region].all()


LAYERS: dict[str, tuple[Any, np.ndarray, dict[str, Any]]] = {
    "mask": (Mask((BLOB == 1).astype(np.uint8), "small"), (BLOB == 1).astype(np.uint8), {"kind": "mask"}),
    "probability": (ProbabilityMask(RAMP, "large", threshold=0.4), RAMP, OVERLAYS["probability"][2]),
    "heat": (Heatmap(RAMP, "heat"), RAMP, {"kind": "heatmap"}),
    "other heat": (Heatmap(RAMP[..., ::-1].copy(), "other"), RAMP[..., ::-1], {"kind": "heatmap"}),
}
"""Findings that lie over each other: the mask reaches into the region of the probability."""


@pytest.mark.parametrize("order", [list(LAYERS), list(LAYERS)[::-1]], ids=["masks first", "heatmaps first"])
def test_masks_lie_over_heatmaps_and_the_smaller_over_the_larger(viewer: ViewerPage, order: list[str]) -> None:
    slices = [windowed(slice_at((0, 0, index), index, **SQUARE)) for index in range(2)]
    viewer.load([picture(one) for one in slices])
    bare(viewer)
    wanted = by_gateway(slices, *(LAYERS[name][0] for name in order))
    tints = {name: place for place, name in enumerate(order)}
    viewer.overlay(*(
        (LAYERS[name][1], {"colour": colour(tints[name]), "outline": False, **LAYERS[name][2]}) for name in order
    ))  # fmt: skip
    edges = np.zeros(wanted.shape[:2], bool)  # the gateway outlines in whole pixels
    for name in ("mask", "probability"):
        region, inner = regions(LAYERS[name][1][0], name)
        edges |= region & ~inner
    assert np.abs(centres(viewer.pixels()) - wanted)[~edges].max() <= 2
    viewer.run("() => { viewer.overlays = viewer.overlays.map((one) => ({...one, visible: one.kind === 'heatmap'})); }")
    heat = by_gateway(slices, *(LAYERS[name][0] for name in order if "heat" in name))
    assert np.abs(centres(viewer.pixels()) - heat).max() <= 2
    viewer.run("() => { viewer.overlays = viewer.overlays.map((one) => ({...one, visible: true, opacity: 0})); }")
    assert np.abs(centres(viewer.pixels()) - by_gateway(slices)).max() <= 1


def regions(plane: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """The voxels of any region, and those within its outline: it is a line here, and whole pixels in the gateway."""
    if kind == "heatmap":
        return np.zeros(plane.shape, bool), np.zeros(plane.shape, bool)
    values = plane > 0.4 * 255 if kind == "probability" else plane
    padded = np.pad(values, 1)
    inner = np.logical_and.reduce(
        [np.roll(padded, way, (0, 1)) == padded for way in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    )
    return values > 0, (values > 0) & inner[1:-1, 1:-1]


def test_outlines_are_drawn_along_the_edges_of_voxels(viewer: ViewerPage) -> None:
    viewer.load([picture(slice_at((0, 0, 0), **SQUARE))])
    bare(viewer)
    before = viewer.pixels()
    viewer.overlay((BLOB[:1], {"kind": "mask", "colour": [255, 0, 255], "opacity": 0}))
    changed = (viewer.pixels() != before).any(axis=-1)
    edges = np.zeros_like(changed)
    for top, bottom, left, right in ((5, 12, 8, 30), (20, 33, 0, 6)):
        box = np.zeros_like(changed)
        box[max(0, top * SIDE - 1) : bottom * SIDE + 1, max(0, left * SIDE - 1) : right * SIDE + 1] = True
        box[top * SIDE + 1 : bottom * SIDE - 1, left * SIDE + 1 : right * SIDE - 1] = False
        edges |= box
    assert changed.any() and not changed[~edges].any()


@pytest.mark.parametrize(
    ("pixels", "header"),
    [
        (stored(0)[None].astype(np.uint16) * 40, {"windows": [{"center": 30000, "width": 50000}]}),
        (stored(0)[None].astype(np.int16) * 20 - 9000, {"windows": [{"center": 0, "width": 9000}], "inverted": True}),
        (stored(0)[None].astype(np.float32) / 1000, {"windows": [{"center": 0.7, "width": 0.5}]}),
        (stored(0)[None].astype(np.float32) / 1000, {"windows": []}),
        ((stored(0)[None] % 256).astype(np.uint8), {"windows": [{"center": 100, "width": 80, "function": "SIGMOID"}]}),
    ],
    ids=["unsigned of 16 bits", "the smallest white", "floats", "without a window", "a sigmoid"],
)
def test_a_window_is_applied_as_the_standard_says(
    viewer: ViewerPage, pixels: np.ndarray, header: dict[str, Any]
) -> None:
    viewer.load([picture(slice_at((0, 0, 0), **SQUARE), pixels, **header)])
    bare(viewer)
    values = pixels[0].astype(float)
    low, high = np.percentile(values, (1, 99))
    part = (values - low) / (high - low)
    for window in header["windows"]:
        centre, width = window["center"], window["width"]
        part = (values - (centre - 0.5)) / (width - 1) + 0.5 if width >= 1 else (values - centre) / width + 0.5
        if "function" in window:
            part = 1 / (1 + np.exp(-4 * (values - centre) / width))
    part = part.clip(0, 1)
    grey = np.rint((1 - part if header.get("inverted") else part) * 255)
    assert np.abs(centres(viewer.pixels())[..., 0] - grey).max() <= 1


def test_a_middle_slice_of_one_value_leaves_the_window_to_all_slices(viewer: ViewerPage) -> None:
    empty = np.zeros((1, ROWS, COLUMNS), np.int16)
    slices = [empty + np.arange(COLUMNS, dtype=np.int16), empty, empty]
    viewer.load([picture(slice_at((0, 0, at), **SQUARE), each, windows=[]) for at, each in enumerate(slices)])
    bare(viewer)
    assert np.array_equal(centres(viewer.pixels())[0, :, 0], np.rint((np.arange(COLUMNS) / 38).clip(0, 1) * 255))


def test_slices_of_different_types_are_one_volume(viewer: ViewerPage) -> None:
    values = [np.full((1, ROWS, COLUMNS), 40, np.int16), np.full((1, ROWS, COLUMNS), 40.25, np.float32)]
    values.append(np.full((1, ROWS, COLUMNS), 60000, np.uint16))
    windows = [{"center": 40, "width": 2, "function": "LINEAR_EXACT"}]
    viewer.load([
        picture(slice_at((0, 0, 10 * index), index, **SQUARE), pixels, windows=windows)
        for index, pixels in enumerate(values)
    ])  # fmt: skip
    bare(viewer)
    for index, grey in enumerate((128, 159, 255)):
        viewer.run("slice => viewer.goTo([slice, 0, 0])", index)
        assert abs(int(centres(viewer.pixels())[0, 0, 0]) - grey) <= 1
    viewer.run("() => { viewer.setPlane('coronal'); viewer.setNoted(false); }")
    shades = viewer.pixels()[:, COLUMNS * SIDE // 2, 0]
    assert {int(shade) for shade in np.unique(shades)} <= {0, 127, 128, 159, 160, 255}
    assert {159, 255} <= {int(shade) for shade in np.unique(shades)}


def test_colours_are_shown_as_they_are(viewer: ViewerPage) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (1, ROWS, COLUMNS, 3), np.uint8)
    viewer.load([picture(slice_at((0, 0, 0), **SQUARE), pixels, units="")])
    bare(viewer)
    assert np.array_equal(centres(viewer.pixels()), pixels[0])


def test_pixels_that_are_not_square_have_their_shape(viewer: ViewerPage) -> None:
    viewer.load([picture(slice_at((0, 0, 0), PixelSpacing=[1, 2]), np.full((1, ROWS, COLUMNS), 900, np.int16))])
    bare(viewer)
    shown = (viewer.run("() => viewer.setWindow(0, 1)"), viewer.pixels())[1].any(axis=-1)
    rows, columns = np.nonzero(shown)
    assert np.ptp(columns) + 1 == pytest.approx(COLUMNS * SIDE, abs=1)
    assert np.ptp(rows) + 1 == pytest.approx(ROWS * SIDE / 2, abs=1)


def test_pixels_of_unknown_size_have_the_shape_that_is_stated(viewer: ViewerPage) -> None:
    lost = slice_at((0, 0, 0), ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None)
    lost.PixelAspectRatio = [1, 2]
    viewer.load([picture(lost, np.full((1, ROWS, COLUMNS), 900, np.int16))])
    bare(viewer)
    rows, columns = np.nonzero((viewer.run("() => viewer.setWindow(0, 1)"), viewer.pixels())[1].any(axis=-1))
    assert np.ptp(columns) + 1 == pytest.approx(COLUMNS * SIDE, abs=1)
    assert np.ptp(rows) + 1 == pytest.approx(ROWS * SIDE / 2, abs=1)


def test_frames_of_one_image_are_slices_in_the_order_of_their_places(viewer: ViewerPage) -> None:
    heights = [4.0, 0.0, 2.0]
    pixels = np.stack([np.full((ROWS, COLUMNS), 100 * height) for height in heights]).astype(np.int16)
    frames = [{"position": [0, 0, height], "orientation": [1, 0, 0, 0, 1, 0]} for height in heights]
    (found,) = viewer.load([picture(slice_at((0, 0, 0)), pixels, frames=frames, position=None)])
    assert (found["shape"], found["spacing"][0], found["volumetric"]) == ([3, ROWS, COLUMNS], 2, True)
    assert viewer.run("() => [0, 1, 2].map((s) => viewer.series.value([s, 0, 0]))") == [0, 200, 400]


def test_missing_slices_are_told_in_words(viewer: ViewerPage) -> None:
    slices = series(6)
    del slices[3]
    (found,) = viewer.load([picture(one) for one in slices])
    assert found["remarks"] == [
        "Slices are missing: from one to the next it is 2.50 to 5.00 mm.",
        "Other planes need slices on an even grid.",
    ]
    assert not found["volumetric"]
    assert viewer.run("() => [...Array(5).keys()].filter((s) => viewer.series.gapBefore(s))") == [3]


def test_pictures_of_another_direction_are_a_series_of_their_own(viewer: ViewerPage) -> None:
    scout = slice_at((0, 0, 0), 9, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    found = viewer.load([picture(one) for one in [*series(3), scout]])
    assert [one["shape"][0] for one in found] == [3, 1]


def test_slices_at_one_place_are_told_and_are_no_volume(viewer: ViewerPage) -> None:
    (found,) = viewer.load([picture(one) for one in [*series(3), *series(3)]])
    assert found["remarks"] == ["3 slices lie where another lies.", "Other planes need slices on an even grid."]
    assert not found["volumetric"]


def test_a_picture_without_a_place_is_shown(viewer: ViewerPage) -> None:
    lost = slice_at((0, 0, 0), ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None)
    (found,) = viewer.load([picture(lost)])
    assert found["affine"] is None
    assert found["remarks"] == ["The size of a pixel in millimetres is unknown."]
    assert viewer.pixels().any()


def test_slices_that_arrive_later_leave_the_reader_where_they_were(viewer: ViewerPage) -> None:
    slices = series(6)
    viewer.load([picture(one) for one in slices[3:]])
    before = viewer.run("() => [viewer.cursor[0], viewer.series.value([viewer.cursor[0], 0, 0])]")
    late = ["/late/0", "/late/1"]
    viewer.serve(dict(zip(late, map(picture, slices[:2]), strict=True)))
    viewer.run("async (paths) => { await harness.add(paths); viewer.refresh(); viewer.flush(); }", late)
    after = viewer.run("() => [viewer.cursor[0], viewer.series.value([viewer.cursor[0], 0, 0])]")
    assert after == [before[0] + 2, before[1]]


def test_a_mask_of_one_slice_lies_at_its_offset(viewer: ViewerPage) -> None:
    viewer.load([picture(slice_at((0, 0, index), index, **SQUARE)) for index in range(3)])
    bare(viewer)
    mask = np.ones((1, 4, 5), np.uint8)
    facts = {"kind": "mask", "colour": [255, 0, 255], "opacity": 1, "outline": False, "offset": [1, 10, 20]}
    viewer.overlay((mask, facts))
    assert not (centres(viewer.pixels()) == [255, 0, 255]).all(axis=-1).any()
    viewer.run("() => viewer.goTo([1, 0, 0])")
    rows, columns = np.nonzero((centres(viewer.pixels()) == [255, 0, 255]).all(axis=-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 13, 20, 24)


def test_an_overlay_that_does_not_fit_is_left_out_and_named(viewer: ViewerPage) -> None:
    viewer.load([picture(slice_at((0, 0, 0)))])
    before = viewer.pixels()
    viewer.overlay((np.ones((2, ROWS, COLUMNS), np.uint8), {"kind": "mask"}))
    assert np.array_equal(viewer.pixels(), before)
    assert viewer.run("() => viewer.misfit(viewer.overlays[0])") == "It reaches beyond the series."


def test_colours_of_findings_are_those_of_the_gateways_pictures(viewer: ViewerPage) -> None:
    assert viewer.run("() => [...Array(40).keys()].map(harness.colourOf)") == [
        list(colour(index)) for index in range(40)
    ]
    packed = np.array(viewer.run("() => [...harness.rampOf(null)]"), "<u4").view(np.uint8).reshape(256, 4)
    assert np.abs(packed.astype(int) - lut_of(None)).max() <= 1


def test_the_view_is_saved_as_a_png(viewer: ViewerPage) -> None:
    viewer.load([picture(one) for one in series(4)])
    viewer.run("() => viewer.setPlane('all')")
    data = viewer.run("async () => [...new Uint8Array(await (await viewer.toBlob()).arrayBuffer())]")
    saved = Image.open(io.BytesIO(bytes(data)))
    assert (saved.format, saved.size) == ("PNG", (COLUMNS * SIDE, ROWS * SIDE))
    assert np.array_equal(np.asarray(saved.convert("RGB"))[:100, :100], viewer.pixels()[:100, :100])
