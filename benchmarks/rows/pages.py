"""The page ``/ui`` in a browser without a graphics card: how soon pictures and regions are on the screen."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks import ready, servers
from benchmarks.results import Line, Plan, skipped
from gateway.dicom.samples import phantom

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SIZE = 512
BOUNDS = {28: (1.5, 4.0), 300: (3.0, 20.0)}
"""Seconds to the first picture and to all, by the number of slices."""
CLICK_MS, FRAMES, GROWTH_MB, WEIGHT_KB = 400, 20, 32, 1500
PASSES = 3
DRAWN = "() => document.querySelector('.viewer-pane')?.getAttribute('aria-valuetext')"
LOADED = "() => /files are pictures/.test(document.body.innerText)"
PIXEL = "document.querySelector('.viewer-pane').getContext('2d').getImageData(x, y, 1, 1).data"
SCROLL = """async (key) => {
  const pane = document.querySelector(".viewer-pane");
  const planes = Number(pane.getAttribute("aria-valuemax")) - 1, began = performance.now();
  for (let plane = 0; plane < planes; plane++) {
    pane.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    await new Promise(requestAnimationFrame);
  }
  return planes / ((performance.now() - began) / 1000);
}"""
WATCH = f"""([x, y]) => {{
  window.coloured = new Promise((resolve) => document.addEventListener("pointerup", () => {{
    const began = performance.now();
    const look = () => {{
      const [red, green, blue] = {PIXEL};
      if (red === green && green === blue) requestAnimationFrame(look);
      else resolve(performance.now() - began);
    }};
    look();
  }}, {{once: true, capture: true}}));
}}"""
"""Milliseconds from a click to a frame in which a grey pixel has a colour."""


def pages(plan: Plan) -> list[Line]:
    """Open studies on the page, scroll with a mask over them, and click into a region."""
    if CHROMIUM is None:
        return [skipped("the page in a browser", "Chromium is not installed.")]
    with (
        tempfile.TemporaryDirectory(prefix="bench-pages-") as folder,
        servers.ours(app="models.app:app") as server,
        sync_playwright() as playwright,
    ):
        ready.wait(server.port)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        address = f"http://127.0.0.1:{server.port}/ui/"
        lines = [_weight(browser, address)]
        for slices in BOUNDS:
            study = Path(folder, str(slices))
            phantom.write(study, slices=slices, size=SIZE)
            lines += _study(plan, browser, address, study, slices)
        browser.close()
        return lines


@contextmanager
def _page(browser: Browser, address: str) -> Iterator[Page]:
    """Open the page, ready for files."""
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("input[webkitdirectory]", state="attached")
        yield page


def _weight(browser: Browser, address: str) -> Line:
    """What is transferred before a study is opened; a request to another origin would count as infinite."""
    with _page(browser, address) as page:
        entries = page.evaluate(
            "() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".map(({name, encodedBodySize}) => [name, encodedBodySize])"
        )
    origin = urlsplit(address).netloc
    size = sum(size if urlsplit(name).netloc == origin else float("inf") for name, size in entries) / 1000
    return Line(
        work="the page before a study: compressed bytes", unit="KB", ours=size, must_reach=f"<= {WEIGHT_KB} KB",
        met=size <= WEIGHT_KB,
    )  # fmt: skip


def _study(plan: Plan, browser: Browser, address: str, study: Path, slices: int) -> list[Line]:
    samples: dict[str, list[float]] = {"first picture": [], "all slices": []}
    for _ in range(plan.pairs):
        with _page(browser, address) as page:
            for name, seconds in zip(samples, _opened(page, study), strict=True):
                samples[name].append(seconds)
    work = f"{slices} slices of {SIZE} x {SIZE} opened on the page"
    lines = [
        Line(
            work=f"{work}: {name}", unit="s", ours=median(samples[name]), must_reach=f"<= {bound:g} s",
            met=median(samples[name]) <= bound, samples={"ours": samples[name]},
        )
        for name, bound in zip(samples, BOUNDS[slices], strict=True)
    ]  # fmt: skip
    with _page(browser, address) as page:
        _opened(page, study)
        return lines + (_clicks(plan, page) if slices == min(BOUNDS) else _scrolling(browser, page, slices))


def _opened(page: Page, study: Path) -> tuple[float, float]:
    """Return the seconds until the first picture is drawn, and until all are there."""
    started = time.perf_counter()
    page.set_input_files("input[webkitdirectory]", study)
    page.wait_for_function(DRAWN)
    first = time.perf_counter() - started
    page.wait_for_function(LOADED, timeout=120_000)
    return first, time.perf_counter() - started


def _clicks(plan: Plan, page: Page) -> list[Line]:
    """Click into the region growing of the examples: each time until the region is drawn beside the click."""
    _begin(page, "/region-growing")
    page.get_by_role("button", name="Undo").wait_for()
    page.locator(".viewer-pane").focus()
    box = page.locator(".viewer-pane").bounding_box()
    assert box is not None
    x, y = box["width"] / 2 + 30, box["height"] / 2 + 30
    times: list[float] = []
    for _ in range(plan.clicks):
        page.evaluate(WATCH, [round(x) + 12, round(y) + 7])
        page.mouse.click(box["x"] + x, box["y"] + y)
        times.append(page.evaluate("() => window.coloured"))
        page.get_by_role("button", name="Clear").click()
        page.wait_for_function(f"([x, y]) => {{ const [r, g, b] = {PIXEL}; return r === g && g === b; }}",
                               arg=[round(x) + 12, round(y) + 7])  # fmt: skip
    return [
        Line(
            work=f"click into {min(BOUNDS)} slices on the page: region on the screen", unit="ms", ours=median(times),
            must_reach=f"<= {CLICK_MS} ms", met=median(times) <= CLICK_MS, samples={"ours": times},
        )
    ]  # fmt: skip


def _begin(page: Page, route: str) -> None:
    page.get_by_role("radio", name=route).check()
    page.get_by_role("button", name=re.compile("^(Run|Begin)")).click()


def _scrolling(browser: Browser, page: Page, slices: int) -> list[Line]:
    """Scroll through all slices with the masks of a model over them, and once more to see what memory does."""
    _begin(page, "/segmentation-3d")
    page.get_by_role("tab", name="Results (1)").wait_for(timeout=120_000)
    page.locator(".viewer-pane").focus()
    page.evaluate(SCROLL, "ArrowUp")
    frames, sizes = list[float](), list[float]()
    for number in range(PASSES):
        frames.append(page.evaluate(SCROLL, "ArrowUp" if number % 2 else "ArrowDown"))
        sizes.append(_resident(browser))
    growth = sizes[-1] - sizes[0]
    work = f"scroll through {slices} slices with a mask on the page"
    return [
        Line(
            work=work, unit="frames/s", ours=median(frames), must_reach=f">= {FRAMES} frames/s",
            met=median(frames) >= FRAMES, samples={"ours": frames},
        ),
        Line(
            work=f"{work}: growth of memory over {PASSES} passes", unit="MiB", ours=growth,
            must_reach=f"<= {GROWTH_MB} MiB", met=growth <= GROWTH_MB, samples={"RSS": sizes},
        ),
    ]  # fmt: skip


def _resident(browser: Browser) -> float:
    """MiB of the largest process that renders pages."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    pages = [Path(f"/proc/{one['id']}/statm").read_text() for one in processes if one["type"] == "renderer"]
    return max(int(text.split()[1]) for text in pages) * 4096 / 2**20
