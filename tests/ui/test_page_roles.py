"""What the page does for callers who may not do everything: it says what is missing, and does the rest."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from gateway.testing import phantom_study
from tests.conftest import Serve
from tests.ui.opened_page import key_of, opened_page

pytestmark = pytest.mark.server

ROLES = "read", "infer"


@pytest.fixture(scope="module")
def guarded(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """The address of a gateway with a store, and the key of a caller of each role."""
    folder = tmp_path_factory.mktemp("roles")
    keys = {role: key_of(role, role, folder / "keys.json") for role in ROLES}
    settings = {"GATEWAY_API_KEYS_FILE": str(folder / "keys.json"), "GATEWAY_STORE_FOLDER": str(folder / "store")}
    return serve("tests.apps.shown:app", GATEWAY_UI="on", **settings).url, keys


def test_who_may_use_no_model_is_told_so_and_can_sign_out(
    browser: Browser, guarded: tuple[str, dict[str, str]]
) -> None:
    url, keys = guarded
    with opened_page(browser, url) as page:
        page.page.fill("#key", keys["read"])
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("text=This needs the role infer.")
        page.page.get_by_role("button", name="Sign out").click()
        page.page.wait_for_selector("#key")


def test_who_may_not_store_sends_the_study_with_the_request(
    browser: Browser, guarded: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    url, keys = guarded
    phantom_study(tmp_path, slices=3)
    with opened_page(browser, url) as page:
        page.page.fill("#key", keys["infer"])
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("text=This key may not read stored studies")
        page.open(tmp_path)
        assert "above the threshold" in page.run("/segmentation-3d")
        assert page.page.locator(".notice").count() == 0
