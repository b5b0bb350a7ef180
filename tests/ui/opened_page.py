"""The page of a running gateway in a browser: what a person does there, by what a person sees."""

import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from gateway.cli import main

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
EXPECTED = re.compile(r"the server responded with a status of 4\d\d")
"""The browser reports each refusal on its console, also those that a test is about."""


class OpenedPage:
    """The page after its start; ``failures`` are errors of its console, and requests to other origins."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.failures: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.failures.append(str(error)))
        page.on("dialog", lambda dialog: self.failures.append(dialog.message))
        page.on("request", lambda request: self._foreign(request.url))
        page.goto(f"{url}/ui/")
        page.wait_for_selector(".page, #key")

    def sign_in(self, key: str, name: str) -> None:
        """Give a key, and wait until the page shows the name of its caller."""
        self.page.fill("#key", key)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(f"text={name}")

    def open(self, folder: Path) -> None:
        """Open a folder, and wait for all of its files."""
        self.page.set_input_files("input[webkitdirectory]", folder)
        self.page.wait_for_selector("p.hint:has-text('are pictures')")

    def choose(self, route: str) -> None:
        """Choose the model of a route."""
        self.page.get_by_role("tab", name="Models").click()
        self.page.locator("li.card", has_text=route).last.get_by_role("radio").check()

    def run(self, route: str, **fields: object) -> str:
        """Run a model, and return the text of its result."""
        self.choose(route)
        for label, value in fields.items():
            self.page.locator(".fields").get_by_label(label, exact=True).fill(str(value))
        results = self.page.locator("details.result")
        before = results.count()
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.wait_for_function("count => document.querySelectorAll('details.result').length > count", arg=before)
        return results.first.inner_text()

    def verdict(self, route: str) -> str:
        """What preflight says of a model."""
        return self.page.locator("li.card", has_text=route).last.locator(".fits, .misfit").inner_text()

    def pixels(self) -> NDArray[np.uint8]:
        """(row, column, 3) of the pictures as they are on the screen."""
        png = self.page.locator(".pictures").screenshot()
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def coloured(self) -> int:
        """The number of pixels that are no grey."""
        pixels = self.pixels().astype(int)
        return int((np.ptp(pixels, axis=2) > 24).sum())

    def _note(self, kind: str, text: str) -> None:
        if kind == "error" and not EXPECTED.search(text):
            self.failures.append(text)

    def _foreign(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.failures.append(url)


def key_of(name: str, roles: str, file: Path) -> str:
    """Add a caller to a file of callers, and return its key."""
    with redirect_stdout(io.StringIO()) as out:
        assert main(["keys", "add", name, "--roles", roles, "--file", str(file)]) == 0
    return out.getvalue().strip()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened_page(browser: Browser, url: str, **options: object) -> Iterator[OpenedPage]:
    """Open the page in a context of its own, without cookies of another test; it must not fail."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True, **options)
    page = OpenedPage(context.new_page(), url)
    yield page
    context.close()
    assert not page.failures
