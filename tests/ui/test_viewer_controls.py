"""Keys, wheel, pointer and touch on the viewer, in a real browser."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.dicom.volumes.volume_series import COLUMNS, ROWS, SPACING, series
from tests.require import require
from tests.ui.viewer_page import CHROMIUM, ViewerPage, opened, picture

pytestmark = pytest.mark.server

SLICES = 25
STATE = """() => ({
  slice: viewer.cursor[0], row: viewer.cursor[1], column: viewer.cursor[2], tool: viewer.tool,
  center: viewer.window.center, width: viewer.window.width,
  inverted: viewer.scene.inverted, overlaid: viewer.scene.overlaid,
  smooth: viewer.scene.smooth, noted: viewer.scene.noted,
})"""
START = {"slice": 12, "row": ROWS // 2, "column": COLUMNS // 2, "center": 40, "width": 400}


@pytest.fixture(scope="module")
def browser() -> Iterator[ViewerPage]:
    require(CHROMIUM, "chromium is not installed")
    with opened() as page:
        windows = [{"center": 40, "width": 400}, {"center": -500, "width": 1500}]
        page.load([picture(one, windows=windows) for one in series(SLICES)])
        yield page
        assert not page.failures


@pytest.fixture
def viewer(browser: ViewerPage) -> ViewerPage:
    browser.run("() => { viewer.show(all[0]); viewer.setPlane('stack'); viewer.setTool('scroll'); viewer.flush(); }")
    browser.run("() => { harness.events.length = 0; }")
    browser.page.focus("canvas")
    return browser


def changes(viewer: ViewerPage) -> dict[str, Any]:
    """What differs from the start."""
    usual = START | {"tool": "scroll", "inverted": False, "overlaid": True, "smooth": True, "noted": True}
    return {name: value for name, value in viewer.run(STATE).items() if value != usual[name]}


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("ArrowDown", {"slice": 13}),
        ("ArrowRight", {"slice": 13}),
        ("ArrowUp", {"slice": 11}),
        ("PageDown", {"slice": 22}),
        ("PageUp", {"slice": 2}),
        ("Home", {"slice": 0}),
        ("End", {"slice": SLICES - 1}),
        ("2", {"center": -500, "width": 1500}),
        ("i", {"inverted": True}),
        ("b", {"smooth": False}),
        ("t", {"noted": False}),
        ("Space", {"overlaid": False}),
        ("w", {"tool": "window"}),
        ("z", {"tool": "zoom"}),
        ("p", {"tool": "pan"}),
        ("c", {"tool": "point"}),
        ("m", {"tool": "length"}),
        ("q", {}),
    ],
)
def test_a_key_does_what_the_documentation_says(viewer: ViewerPage, key: str, change: dict[str, Any]) -> None:
    viewer.page.keyboard.press(key)
    assert changes(viewer) == change


def test_keys_zoom_pan_and_reset(viewer: ViewerPage) -> None:
    corner = [0, 0, 0]
    before = viewer.run("(voxel) => viewer.toScreen(voxel)", corner)
    viewer.page.keyboard.press("+")
    zoomed = viewer.run("(voxel) => viewer.toScreen(voxel)", corner)
    assert zoomed[1] - 300 == pytest.approx((before[1] - 300) * 1.25)
    viewer.page.keyboard.press("Shift+ArrowDown")
    assert viewer.run("(voxel) => viewer.toScreen(voxel)", corner)[1] == pytest.approx(zoomed[1] - 20)
    viewer.page.keyboard.press("r")
    assert viewer.run("(voxel) => viewer.toScreen(voxel)", corner) == before


def test_a_voxel_is_picked_by_keys_alone(viewer: ViewerPage) -> None:
    for key in ("c", "Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowDown", "Enter", "Shift+Enter"):
        viewer.page.keyboard.press(key)
    picks = [event for event in viewer.run("() => harness.events") if event["type"] == "pick"]
    assert [pick["voxel"] for pick in picks] == 2 * [[12, ROWS // 2 + 2, COLUMNS // 2 + 1]]
    assert [pick["positive"] for pick in picks] == [True, False]


def test_the_wheel_scrolls_and_with_control_zooms_around_the_pointer(viewer: ViewerPage) -> None:
    viewer.page.mouse.move(500, 200)
    viewer.page.mouse.wheel(0, 120)
    viewer.page.wait_for_function("() => harness.viewer.cursor[0] === 13")
    place = viewer.run("() => viewer.toScreen([13, 0, 0])")
    viewer.page.keyboard.down("Control")
    viewer.page.mouse.wheel(0, -400)
    viewer.page.keyboard.up("Control")
    viewer.page.wait_for_function("(x) => harness.viewer.toScreen([13, 0, 0])[0] !== x", arg=place[0])
    found = viewer.run("() => viewer.toScreen([13, 0, 0])")
    assert found == pytest.approx([500 + 2 * (place[0] - 500), 200 + 2 * (place[1] - 200)])


def drag(viewer: ViewerPage, right: float, down: float, button: Any = "left") -> None:
    viewer.page.mouse.move(400, 300)
    viewer.page.mouse.down(button=button)
    viewer.page.mouse.move(400 + right, 300 + down, steps=4)
    viewer.page.mouse.up(button=button)


def test_a_drag_with_the_window_tool_changes_width_and_center(viewer: ViewerPage) -> None:
    viewer.page.keyboard.press("w")
    drag(viewer, 200, 60)
    changed = changes(viewer)
    assert changed["width"] > START["width"] and changed["center"] > START["center"]
    assert "slice" not in changed


def test_a_drag_scrolls_and_the_middle_button_pans(viewer: ViewerPage) -> None:
    drag(viewer, 0, 80)
    assert changes(viewer)["slice"] > START["slice"] + 5
    before = viewer.run("() => viewer.toScreen([0, 0, 0])")
    drag(viewer, 30, -20, "middle")
    found = viewer.run("() => viewer.toScreen([0, 0, 0])")
    assert found == pytest.approx([before[0] + 30, before[1] - 20])


def test_two_fingers_zoom_and_pan(viewer: ViewerPage) -> None:
    session = viewer.page.context.new_cdp_session(viewer.page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    before = viewer.run("() => viewer.toScreen([0, 0, 0])")
    touch("touchStart", (350, 300))
    touch("touchStart", (350, 300), (450, 300))
    touch("touchMove", (300, 300), (500, 300))
    touch("touchEnd")
    found = viewer.run("() => viewer.toScreen([0, 0, 0])")
    assert found[0] - 400 == pytest.approx((before[0] - 400) * 2, abs=2)
    assert changes(viewer) == {}


def test_a_drag_is_no_click(viewer: ViewerPage) -> None:
    viewer.page.keyboard.press("c")
    drag(viewer, 40, 0)
    assert not [event for event in viewer.run("() => harness.events") if event["type"] == "pick"]


def test_the_pointer_reads_value_and_place(viewer: ViewerPage) -> None:
    x, y = viewer.run("() => viewer.toScreen([12, 3, 4])")
    viewer.page.mouse.move(x, y)
    cursor = [event for event in viewer.run("() => harness.events") if event["type"] == "cursor"][-1]
    value, place = viewer.run("() => [viewer.series.value([12, 3, 4]), viewer.series.affine]")
    assert (cursor["voxel"], cursor["value"], cursor["units"]) == ([12, 3, 4], value, "HU")
    assert cursor["lps"] == pytest.approx([-30 + 4 * 0.5, 20 + 3 * 0.75, 5 + 12 * 2.5])


def test_a_click_in_three_planes_moves_the_others(viewer: ViewerPage) -> None:
    viewer.run("() => { viewer.setPlane('all'); viewer.flush(); }")
    x, y = viewer.run("() => viewer.toScreen([4, 17, 9], 1)")
    viewer.page.mouse.click(x, y)
    assert changes(viewer) == {"slice": 4, "column": 9}


def test_what_a_pane_shows_is_said_to_those_who_do_not_see_it(viewer: ViewerPage) -> None:
    pane = viewer.page.get_by_role("slider")
    assert pane.get_attribute("aria-valuetext") == "13 of 25"
    assert pane.get_attribute("aria-label") == "CT axial"


def lengths(viewer: ViewerPage) -> list[str]:
    return [event["words"] for event in viewer.run("() => harness.events") if event["type"] == "length"]


def test_a_length_is_dragged_in_millimetres_of_each_plane_and_removed(viewer: ViewerPage) -> None:
    viewer.page.keyboard.press("m")
    for view, ends, mm in (
        ("stack", ([12, 5, 4], [12, 25, 34]), np.hypot(20 * SPACING[0], 30 * SPACING[1])),
        ("coronal", ([2, 18, 4], [22, 18, 34]), np.hypot(20 * 2.5, 30 * SPACING[1])),
    ):
        viewer.run("view => { viewer.setPlane(view); viewer.goTo([12, 18, 20]); viewer.flush(); }", view)
        (x, y), to = (viewer.run("voxel => viewer.toScreen(voxel)", voxel) for voxel in ends)
        viewer.page.mouse.move(x, y)
        viewer.page.mouse.down()
        viewer.page.mouse.move(*to, steps=3)
        viewer.page.mouse.up()
        words = lengths(viewer)[-1]
        assert words.endswith(" mm")
        assert float(words.removesuffix(" mm")) == pytest.approx(mm, abs=0.1)
    canvas = viewer.page.locator("canvas")
    canvas.focus()
    shown = viewer.pixels()
    viewer.page.keyboard.press("Delete")
    assert (viewer.pixels() != shown).any()
    assert viewer.run("() => viewer.scene.lengths.length") == 1


def test_a_length_is_measured_by_keys_alone(viewer: ViewerPage) -> None:
    for key in ("m", "Enter", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "Enter"):
        viewer.page.keyboard.press(key)
    assert lengths(viewer) == [f"{3 * SPACING[1]:.2f} mm"]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"spacing_at": "detector"}, "4.00 mm at the detector"),
        ({"spacing_at": "calibrated"}, "4.00 mm (calibrated)"),
        ({"spacing_at": "unknown"}, "4.00 mm (magnification not stated)"),
        ({"spacing": None}, "2.0 pixels"),
    ],
)
def test_a_length_says_what_its_millimetres_are(viewer: ViewerPage, header: dict[str, Any], words: str) -> None:
    lost = {"position": None, "orientation": None, "spacing": [2, 2]}
    viewer.load([picture(series(1)[0], **lost | header)])
    viewer.page.locator("canvas").focus()
    for key in ("m", "Enter", "Shift+ArrowDown", "Shift+ArrowDown", "Enter"):
        viewer.page.keyboard.press(key)
    assert lengths(viewer) == [words]
