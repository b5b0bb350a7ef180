"""OHIF as npm publishes it, in Chromium: what a model found in a stored study lies where it was found."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.dicom.samples import phantom
from tests.commands import Command
from tests.conftest import LISTENING, ROOT, Serve
from tests.endpoints.dicomweb.web import BOUNDARY, PARTS, body, encoded, sample, uids
from tests.ports import free_port
from tests.require import require
from tests.ui.viewer_page import CHROMIUM
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.server]

PACKAGE = "@ohif/app@3.13.2"
SIZE = 256
"""Rows and columns of the phantom, which has 64 slices."""
RADIUS, ROW, COLUMN = 0.2, 0.4, 0.6
"""The ball of tests.apps.overlaid, as parts of the picture."""
RULES = """
[rules.ball]
callers = ["*"]
match = {Modality = "CT"}
model = "/"
destinations = ["itself"]
quiet_seconds = 1
"""
COMPRESSED = sample("MR_small_jp2klossless.dcm")
SOFTWARE = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
PATIENCE = 120_000
"""Milliseconds for WebGL in software on a busy machine."""


def build() -> Path:
    """The folder ``dist`` of the package; npm checks its digest, and it is kept beside the interpreter."""
    folder = Path(sys.prefix) / "ohif" / PACKAGE.rpartition("@")[2]
    if not (folder / "package" / "dist").is_dir():
        require(shutil.which("npm"), "npm is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", PACKAGE, "--silent", "--pack-destination", str(folder)]
        packed = subprocess.run(command, capture_output=True, text=True, timeout=300)
        require(packed.returncode == 0, f"npm cannot fetch {PACKAGE}: {packed.stderr[-200:]}")
        (archive,) = folder.glob("*.tgz")
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
        archive.unlink()
    return folder / "package" / "dist"


@pytest.fixture(scope="module")
def address(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of OHIF over a gateway that has the phantom with its findings, and a compressed image."""
    require(CHROMIUM, "chromium is not installed")
    dist, folder, port = build(), tmp_path_factory.mktemp("ohif"), free_port()
    (folder / "peers.toml").write_text(f'[peers.itself]\ndicomweb = "http://127.0.0.1:{port}/dicomweb"\n')
    (folder / "rules.toml").write_text(RULES)
    paths = {"PEERS": folder / "peers.toml", "ROUTING": folder / "rules.toml", "STORE_FOLDER": folder / "store"}
    options = {f"GATEWAY_{name}": str(path) for name, path in paths.items()} | {"GATEWAY_DICOMWEB": "1"}
    gateway = serve("tests.apps.overlaid:app", "--port", str(port), **options)
    files = [COMPRESSED, *map(encoded, phantom.datasets())]
    sent = {"Content-Type": f"{PARTS}; boundary={BOUNDARY}"}
    requests.post(f"{gateway.url}/dicomweb/studies", body(files), headers=sent).raise_for_status()
    eventually(lambda: len(requests.get(f"{gateway.url}/dicomweb/series").json()) == 6)
    with beside(gateway.url, dist, folder) as url:
        yield url


@contextmanager
def beside(gateway: str, dist: Path, folder: Path, *options: str) -> Iterator[str]:
    """Serve OHIF beside a gateway; yields its address."""
    log = folder / "ohif.log"
    words = ["ohif", "--dist", dist, "--gateway", gateway, "--port", 0, *options]
    command = Command(words, ROOT, os.environ, [log])
    try:
        found = eventually(lambda: LISTENING.search(log.read_text()) if log.exists() else None)
        assert found
        yield f"http://127.0.0.1:{found[2]}"
    finally:
        command.send_signal(signal.SIGTERM)
        command.wait(60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser with WebGL in software."""
    require(CHROMIUM, "chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SOFTWARE))
        yield started
        started.close()


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page without errors, whose requests all go to the address of OHIF."""
    errors, asked = list[str](), list[str]()
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(PATIENCE)
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    yield opened
    opened.close()
    assert errors == []
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []


def shown(page: Page) -> NDArray[np.int16]:
    """(row, column, 3) of the picture in the viewport."""
    page.wait_for_selector("canvas.cornerstone-canvas")
    url = page.evaluate("() => document.querySelector('canvas.cornerstone-canvas').toDataURL()")
    picture = Image.open(io.BytesIO(b64decode(url.partition(",")[2])))
    return np.asarray(picture.convert("RGB")).astype(np.int16)


def coloured(page: Page) -> NDArray[np.bool_]:
    """(row, column): where a pixel is not grey."""
    picture = shown(page)
    return np.ptp(picture, axis=2) > 24


def study_of(data: bytes) -> str:
    return uids(data)[0]


def opened(page: Page, address: str, data: bytes) -> None:
    page.goto(f"{address}/viewer?StudyInstanceUIDs={study_of(data)}")
    for words in ("Skip all", "Confirm and hide"):
        page.get_by_text(words, exact=True).click()


PHANTOM = encoded(next(iter(phantom.datasets())))


def test_the_studies_are_listed_and_searched(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_text("1-2 of 2").wait_for()
    page.locator("table input").first.fill("hantom")
    page.get_by_text("1-1 of 1").wait_for()
    assert page.get_by_text("Phantom chest").count() == 1


def test_a_mask_lies_where_the_model_found_it(page: Page, address: str) -> None:
    opened(page, address, PHANTOM)
    page.wait_for_function("() => document.body.innerText.includes('64)')")
    eventually(lambda: shown(page).max() > 200)
    assert not coloured(page).any()
    page.get_by_text("Sphere", exact=True).first.dblclick()
    eventually(lambda: coloured(page).sum() > 1000)
    number = int(re.search(r"I:\s*(\d+)", page.inner_text("body"))[1])
    far = (number - 1 - 32) / 64
    radius = SIZE * np.sqrt(RADIUS**2 - far**2)
    mask = coloured(page)
    scale = np.sqrt(mask.sum() / np.pi) / radius
    rows, columns = mask.nonzero()
    middle = np.array([rows.mean(), columns.mean()]) - np.array(mask.shape) / 2
    wanted = scale * SIZE * (np.array([ROW, COLUMN]) - 0.5)
    assert 2 < scale < 3.5
    assert np.abs(middle - wanted).max() < 4


def test_a_heatmap_and_a_length_lie_over_the_series(page: Page) -> None:
    page.get_by_text("Nearness", exact=True).first.dblclick()
    eventually(lambda: coloured(page).mean() > 0.2)
    page.get_by_text("Diameter", exact=True).first.dblclick()
    eventually(lambda: "180.00 mm" in (page.locator("svg.svg-layer").first.text_content() or ""))


def test_a_compressed_image_is_drawn_as_it_decodes(page: Page, address: str) -> None:
    page.goto(f"{address}/viewer?StudyInstanceUIDs={study_of(COMPRESSED)}")
    eventually(lambda: shown(page).max() > 100)
    picture = Image.fromarray(shown(page)[..., 0].astype(np.uint8))
    side, left = picture.height, (picture.width - picture.height) // 2
    pixels = pydicom.dcmread(io.BytesIO(COMPRESSED)).pixel_array
    drawn = np.asarray(picture.crop((left, 0, left + side, side)).resize(pixels.shape[::-1], Image.Resampling.BOX))
    assert np.corrcoef(drawn.ravel(), pixels.ravel())[0, 1] > 0.9


def test_ohif_leads_to_the_login_of_the_gateway_and_shows_studies_after_it(
    browser: Browser, serve: Serve, tmp_path: Path
) -> None:
    key, caller = new_key(), Caller("reader", frozenset({"infer", "read", "write"}))
    change(tmp_path / "callers.json", lambda _: [CallerEntry(caller, fingerprint(key))])
    paths = {"API_KEYS_FILE": tmp_path / "callers.json", "STORE_FOLDER": tmp_path / "store", "DICOMWEB": 1}
    gateway = serve("tests.apps.overlaid:app", **{f"GATEWAY_{name}": str(value) for name, value in paths.items()})
    sent = {"Content-Type": f"{PARTS}; boundary={BOUNDARY}", "X-API-Key": key}
    requests.post(f"{gateway.url}/dicomweb/studies", body([PHANTOM]), headers=sent).raise_for_status()
    login = f"{gateway.url}/ui/"
    with beside(gateway.url, build(), tmp_path, "--login", login) as ohif, browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(ohif)
        page.wait_for_url(login)
        page.locator("input[type=password]").fill(key)
        with page.expect_response(f"{gateway.url}/ui/login"):
            page.keyboard.press("Enter")
        page.goto(ohif)
        page.get_by_text("Phantom chest").first.wait_for()
