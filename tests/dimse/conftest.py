"""One provider for each module, and for tests that need settings of their own one more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dimse.serving import Serving, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("dimse")) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
