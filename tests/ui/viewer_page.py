"""The viewer alone on a page, under the policy of ``/ui``: its server, and pictures in the format of the gateway."""

import io
import shutil
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from pydicom import Dataset

from gateway.dicom.web.shown_images import ShownImage, encode, show
from tests.dicom.volumes.volume_series import parts
from tests.house.imports import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HARNESS = Path(__file__).parent / "harness"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; worker-src 'self'"
)
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def picture(dataset: Dataset, pixels: NDArray[Any] | None = None, **header: Any) -> bytes:
    """A dataset as the gateway sends it to the page; with ``pixels`` in place of its own, (frame, row, column[, 3])."""
    words, values = show(*parts([dataset]))
    if pixels is not None:
        words, values = words | {"dtype": pixels.dtype.name, "shape": list(pixels.shape)}, pixels
    return b"".join(encode(ShownImage(words | header, values)))


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve the harness, the modules of the viewer and ``files``, which may be added to; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/") or "index.html"
            path = (ROOT / "web" if name.startswith("viewer/") else HARNESS) / name
            body = files.get(self.path) or (path.read_bytes() if path.is_file() else b"")
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", TYPES.get(path.suffix, "application/octet-stream"))
            self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class ViewerPage:
    """The harness in a browser; ``failures`` are errors of its console."""

    def __init__(self, page: Page, address: str, files: dict[str, bytes]) -> None:
        self.page, self._files = page, files
        self.failures: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.failures.append(str(error)))
        page.goto(address)
        page.wait_for_function("window.harness")

    def run(self, script: str, argument: Any = None) -> Any:
        """Return the value of a function of JavaScript, whose ``viewer`` is that of the page."""
        return self.page.evaluate(
            f"argument => {{ const {{viewer}} = harness; return ({script})(argument); }}", argument
        )

    def serve(self, files: Mapping[str, bytes]) -> None:
        """Serve further files, by their paths."""
        self._files.update(files)

    def load(self, pictures: list[bytes]) -> list[dict[str, Any]]:
        """Load pictures in their order and show the first series; returns the facts of all."""
        paths = [f"/picture/{index}" for index in range(len(pictures))]
        self.serve(dict(zip(paths, pictures, strict=True)))
        found = self.run("paths => harness.load(paths)", paths)
        self.run("() => { viewer.show(all[0]); viewer.flush(); }")
        return cast(list[dict[str, Any]], found)

    def overlay(self, *overlays: tuple[NDArray[Any], Mapping[str, Any]]) -> None:
        """Lay overlays over the series: the values of each, and its facts."""
        fields = []
        for index, (array, facts) in enumerate(overlays):
            self._files[f"/overlay/{index}"] = array.tobytes()
            fields.append({"id": str(index), "name": "One", "shape": array.shape, **facts})
        self.run(
            """async fields => {
                const load = (facts, index) => harness.overlay(`/overlay/${index}`, facts);
                viewer.overlays = await Promise.all(fields.map(load));
                viewer.flush();
            }""",
            fields,
        )

    def pixels(self, pane: int = 0) -> NDArray[np.uint8]:
        """(row, column, 3) of the canvas of a pane."""
        png = self.run("pane => harness.picture(pane)", pane).partition(",")[2]
        return np.asarray(Image.open(io.BytesIO(b64decode(png))).convert("RGB"))

    def _note(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and "404" not in text:
            self.failures.append(text)


@contextmanager
def opened() -> Iterator[ViewerPage]:
    """Open the harness in a browser of its own."""
    files: dict[str, bytes] = {}
    with serving(files) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 800, "height": 600})
        yield ViewerPage(page, address, files)
        browser.close()
