"""Where the viewer draws a voxel: computed here in the patient, and compared with pixels of a real browser."""

from collections.abc import Iterator

import numpy as np
import pytest
from pydicom import Dataset

from gateway.dicom.reading.instances import read_instance
from gateway.dicom.volumes.images import volume
from tests.dicom.volumes.volume_series import COLUMNS, ROWS, parts, rotation, series
from tests.require import require
from tests.ui.viewer_page import CHROMIUM, ViewerPage, opened, picture

pytestmark = pytest.mark.server

SLICES = 6
FLIPPED = np.diag([-1.0, 1.0, -1.0])
SAGITTAL = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Rows run to the back, columns to the feet, slices to the right."""
TURNS = {
    "axial": np.eye(3),
    "with rows flipped": FLIPPED,
    "sagittal": SAGITTAL,
    "oblique": rotation(12, -21, 17),
    "oblique with rows flipped": rotation(-14, 9, 28) @ FLIPPED,
}
TINT = [255, 0, 255]
WANTED = {"axial": ((0, 1), (1, 1)), "coronal": ((0, 1), (2, -1)), "sagittal": ((1, 1), (2, -1))}
"""For each plane the patient's axis (LPS) and its sign to the right of the screen, and down."""
ACQUIRED = {"sagittal": "sagittal"}
"""The plane that was scanned, by the turn; axial for the others."""


@pytest.fixture(scope="module")
def viewer() -> Iterator[ViewerPage]:
    require(CHROMIUM, "chromium is not installed")
    with opened() as page:
        yield page
        assert not page.failures


def load(viewer: ViewerPage, slices: list[Dataset]) -> np.ndarray:
    """Show a series whose pictures come in disorder; returns the affine of the gateway."""
    (found,) = viewer.load([picture(one) for one in slices[::2] + slices[1::2]])
    matrix = volume([read_instance(one) for one in parts(slices)]).affine
    assert np.allclose(np.reshape(found["affine"], (4, 4)), matrix)
    return matrix


def screen_axis(matrix: np.ndarray, along: int, sign: int) -> tuple[int, np.ndarray]:
    """The index axis nearest to the patient's, and its unit vector with that sign."""
    steps = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    axis = int(np.abs(steps[along]).argmax())
    return axis, steps[:, axis] * np.sign(steps[along, axis]) * sign


def expected(matrix: np.ndarray, name: str, acquired: str) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in the patient to the right of the screen and down."""
    if name == acquired:
        return matrix[:3, 2] / np.linalg.norm(matrix[:3, 2]), matrix[:3, 1] / np.linalg.norm(matrix[:3, 1])
    right, down = (screen_axis(matrix, *way)[1] for way in WANTED[name])
    return right, down


@pytest.mark.parametrize("turn", TURNS)
def test_a_corner_voxel_of_a_mask_is_drawn_where_the_patient_has_it(viewer: ViewerPage, turn: str) -> None:
    matrix = load(viewer, series(SLICES, turn=TURNS[turn]))
    corner = np.array([0, ROWS - 1, 0])
    mask = np.zeros((SLICES, ROWS, COLUMNS), np.uint8)
    mask[tuple(corner)] = 1
    viewer.overlay((mask, {"kind": "mask", "colour": TINT, "opacity": 1, "outline": False}))
    viewer.run("voxel => { viewer.setNoted(false); viewer.goTo(voxel); }", corner.tolist())
    for name in WANTED:
        viewer.run("name => viewer.setPlane(name)", name)
        ways = expected(matrix, name, ACQUIRED.get(turn, "axial"))
        for zoom in (1, 3, 8):
            check_place(viewer, matrix, corner, ways, zoom)


def check_place(
    viewer: ViewerPage, matrix: np.ndarray, corner: np.ndarray, ways: tuple[np.ndarray, np.ndarray], zoom: float
) -> None:
    """The tinted pixels are those of the voxel, to one pixel; above a zoom of 1 it is brought to the middle."""
    viewer.run("zoom => { viewer.reset(); viewer.setZoom(zoom); }", zoom)
    scale = scale_of(zoom, matrix, ways)
    offset = matrix[:3, :3] @ (corner - (np.array([SLICES, ROWS, COLUMNS]) - 1) / 2)
    middle = np.array([400, 300]) + [offset @ way * scale for way in ways]
    if zoom > 1:
        viewer.run("voxel => viewer.lookAt(voxel)", corner.tolist())
        middle = np.array([400, 300])
    tinted = (viewer.pixels() == TINT).all(axis=-1)
    rows, columns = np.nonzero(tinted)
    half = scale * np.array([np.linalg.norm(matrix[:3, axis_of(matrix, way)]) for way in ways]) / 2
    first, last = np.clip([middle - half, middle + half], 0, (800, 600))
    assert np.allclose([columns.min(), rows.min()], first, atol=1), zoom
    assert np.allclose([columns.max() + 1, rows.max() + 1], last, atol=1), zoom
    assert tinted.sum() == (np.ptp(columns) + 1) * (np.ptp(rows) + 1)


def axis_of(matrix: np.ndarray, way: np.ndarray) -> int:
    """The index axis along a direction."""
    return int((np.abs(matrix[:3, :3].T @ way) / np.linalg.norm(matrix[:3, :3], axis=0)).argmax())


def scale_of(zoom: float, matrix: np.ndarray, ways: tuple[np.ndarray, np.ndarray]) -> float:
    """Pixels for each mm: the whole plane fits the pane at a zoom of 1."""
    extents = np.array([SLICES, ROWS, COLUMNS]) * np.linalg.norm(matrix[:3, :3], axis=0)
    width, height = (extents[axis_of(matrix, way)] for way in ways)
    return float(zoom * min(800 / width, 600 / height))


@pytest.mark.parametrize(
    ("turn", "letters"),
    [
        ("axial", {"left": "R", "right": "L", "top": "A", "bottom": "P"}),
        ("with rows flipped", {"left": "L", "right": "R", "top": "A", "bottom": "P"}),
        ("oblique", {"left": "RF", "right": "LH", "top": "AL", "bottom": "PR"}),
    ],
)
def test_the_letters_of_the_sides_are_those_of_the_patient(
    viewer: ViewerPage, turn: str, letters: dict[str, str]
) -> None:
    (found,) = viewer.load([picture(one) for one in series(SLICES, turn=TURNS[turn])])
    assert found["planes"][0]["letters"] == letters
    coronal = found["planes"][1]["letters"]
    assert coronal["left"][0] + coronal["right"][0] + coronal["top"][0] + coronal["bottom"][0] == "RLHF"


@pytest.mark.parametrize("turn", TURNS)
def test_a_click_picks_the_voxel_that_is_drawn_there(viewer: ViewerPage, turn: str) -> None:
    load(viewer, series(SLICES, turn=TURNS[turn]))
    voxel = [1, ROWS - 1, 3]
    for name in WANTED:
        viewer.run("name => { viewer.setPlane(name); viewer.setTool('point'); harness.events.length = 0; }", name)
        viewer.run("voxel => { viewer.setZoom(5); viewer.lookAt(voxel); viewer.flush(); }", voxel)
        x, y = viewer.run("voxel => viewer.toScreen(voxel)", voxel)
        viewer.page.mouse.click(x, y)
        viewer.page.mouse.click(x, y, button="right")
        picks = [event for event in viewer.run("() => harness.events") if event["type"] == "pick"]
        assert [pick["voxel"] for pick in picks] == [voxel, voxel]
        assert [pick["positive"] for pick in picks] == [True, False]
