"""The page where keys are on and no store is, and what hostile files and models can do to it: nothing."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from pydicom import dcmread

from gateway.testing import phantom_study
from tests.apps.shown import SCRIPT
from tests.conftest import Serve
from tests.ui.opened_page import OpenedPage, key_of, opened_page

pytestmark = pytest.mark.server

ATTRIBUTES = "StudyDescription", "SeriesDescription", "PatientID", "ImageComments", "WindowCenterWidthExplanation"
NAME = "<script>hacked()</script>"
"""Without a character that separates the components of a name (PS3.5 6.2)."""
HEAVIEST = 1_500_000
"""Bytes of the page before a study, compressed."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def guarded(serve: Serve, keys: Path) -> tuple[str, str]:
    """The address of a gateway with keys and without a store, and a key."""
    key = key_of("reader", "infer,read,write", keys)
    return serve("tests.apps.shown:app", GATEWAY_API_KEYS_FILE=str(keys), GATEWAY_UI="on").url, key


@contextmanager
def reader_with_a_study(browser: Browser, guarded: tuple[str, str], folder: Path) -> Iterator[OpenedPage]:
    """The page, where a reader has signed in and opened three slices of a phantom."""
    url, key = guarded
    phantom_study(folder, slices=3)
    with opened_page(browser, url) as page:
        page.sign_in(key, "reader")
        page.open(folder)
        yield page


@pytest.fixture(scope="module")
def other_key(guarded: tuple[str, str], keys: Path) -> str:
    """The key of another caller."""
    return key_of("guest", "infer", keys)


def test_nothing_shows_before_a_key_is_given_and_after_it_is_given_back(
    browser: Browser, guarded: tuple[str, str], tmp_path: Path
) -> None:
    url, key = guarded
    phantom_study(tmp_path, slices=3)
    with opened_page(browser, url) as page:
        page.page.wait_for_selector("#key")
        assert "segment" not in page.page.content()
        page.page.fill("#key", "of another gateway")
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("text=The gateway does not accept this key.")
        page.sign_in(key, "reader")
        assert page.page.evaluate("document.cookie") == ""
        assert "This gateway stores no studies." in page.page.inner_text("[aria-label=Store]")
        page.open(tmp_path)
        assert "above the threshold" in page.run("/segmentation-3d")
        page.page.get_by_role("button", name="Sign out").click()
        page.page.wait_for_selector("#key")
        assert page.page.evaluate("fetch('/ui/models').then(({status}) => status)") == 401


def test_a_login_that_has_ended_is_renewed_over_the_page_and_nothing_is_lost(
    browser: Browser, guarded: tuple[str, str], tmp_path: Path
) -> None:
    _, key = guarded
    with reader_with_a_study(browser, guarded, tmp_path) as page:
        page.choose("/region-growing")
        page.page.get_by_role("button", name="Begin").click()
        page.page.wait_for_selector(".question")
        page.page.locator(".pictures canvas").focus()
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("text=1 click,")
        page.page.context.clear_cookies()
        page.page.keyboard.press("Shift+ArrowRight")
        page.page.keyboard.press("Enter")
        page.page.fill("dialog.cover #key", key)
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("text=2 clicks,")
        page.page.wait_for_selector("dialog.cover", state="detached")
        page.page.get_by_role("button", name="Accept").click()
        page.page.wait_for_selector("details.result")
        assert page.page.locator(".notice").count() == 0


LOG_IN = """async key => {
    const body = JSON.stringify({key});
    const csrf = async () => (await (await fetch("config")).json()).csrf;
    for (const before = await csrf(); before === await csrf(); await new Promise((next) => setTimeout(next, 200))) {
        await fetch("login", {method: "POST", headers: {"Content-Type": "application/json"}, body});
    }
}"""
"""Log in as another tab does, until the login is another one: two of one second are the same."""


def test_a_login_in_another_tab_disturbs_nobody_but_another_caller(
    browser: Browser, guarded: tuple[str, str], other_key: str, tmp_path: Path
) -> None:
    _, key = guarded
    with reader_with_a_study(browser, guarded, tmp_path) as page:
        page.page.evaluate(LOG_IN, key)
        assert "above the threshold" in page.run("/segmentation-3d")
        assert page.page.locator(".notice, dialog.cover").count() == 0
        page.page.evaluate(LOG_IN, other_key)
        page.choose("/segmentation-3d")
        page.page.get_by_role("button", name="Run", exact=True).click()
        page.page.wait_for_selector("text=guest has signed in in another tab. Sign in as reader to go on here.")
        page.page.fill("dialog.cover #key", key)
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("details.result >> nth=1")


def test_files_that_did_not_get_through_are_loaded_again_on_request(
    browser: Browser, guarded: tuple[str, str], tmp_path: Path
) -> None:
    url, key = guarded
    phantom_study(tmp_path, slices=3)
    with opened_page(browser, url) as page:
        page.sign_in(key, "reader")
        page.page.context.set_offline(True)
        page.open(tmp_path)
        page.page.get_by_text("3 files could not be loaded").click()
        assert "does not answer" in page.page.inner_text(".refused")
        page.page.context.set_offline(False)
        page.page.get_by_role("button", name="Try again").click()
        page.page.wait_for_selector("text=3 of 3 files are pictures")
        assert page.page.locator(".refused").is_hidden()
        page.failures.clear()  # the browser reports each request that failed


def test_an_answer_of_nothing_is_said_and_a_picture_of_a_model_is_no_study(
    browser: Browser, guarded: tuple[str, str], tmp_path: Path
) -> None:
    with reader_with_a_study(browser, guarded, tmp_path) as page:
        assert "The model found nothing to show." in page.run("/nothing")
        page.run("/secondary-capture")
        page.page.locator(".finding").get_by_role("button", name="Show", exact=True).first.click()
        page.page.wait_for_selector(".series button >> nth=1")
        page.choose("/nothing")
        assert page.page.get_by_role("button", name="Run", exact=True).is_disabled()
        page.page.locator(".series button").first.click()
        assert page.page.get_by_role("button", name="Run", exact=True).is_enabled()


def test_scripts_in_texts_of_files_and_models_are_texts(
    browser: Browser, guarded: tuple[str, str], tmp_path: Path
) -> None:
    url, key = guarded
    (path,) = phantom_study(tmp_path / "one", slices=1)
    dataset = dcmread(path)
    markup = "<script>hacked=1</script><img src=x onerror=hacked=1>"
    for keyword in ATTRIBUTES:
        setattr(dataset, keyword, markup)
    dataset.PatientName = NAME
    folder = tmp_path / "two"
    folder.mkdir()
    dataset.save_as(folder / "<img src=x onerror=hacked=1>.dcm")
    shutil.copy(__file__, folder / "<script>hacked=1<script>.dcm")
    with opened_page(browser, url) as page:
        page.sign_in(key, "reader")
        page.open(folder)
        assert markup in page.page.inner_text(".series")
        assert "<script>hacked=1<script>" in page.page.locator(".refused").text_content()
        text = page.run("/hostile")
        assert text.count(SCRIPT) >= 3
        page.page.get_by_role("button", name="Show the patient").click()
        page.page.wait_for_selector(f".patient:has-text('{NAME}')")
        assert page.page.evaluate("window.hacked") is None
        assert page.page.locator("img, body script").count() == 0


def test_the_page_is_light(browser: Browser, guarded: tuple[str, str]) -> None:
    with opened_page(browser, guarded[0]) as page:
        page.page.wait_for_selector("#key")
        sizes = "performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0)"
        assert 10_000 < page.page.evaluate(sizes) < HEAVIEST
