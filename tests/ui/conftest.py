"""A browser for the pages of a module."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.require import require
from tests.ui.opened_page import CHROMIUM, chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    require(CHROMIUM, "chromium is not installed")
    with chromium() as started:
        yield started
