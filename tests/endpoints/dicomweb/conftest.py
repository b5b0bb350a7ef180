"""An application with DICOMweb and an empty store."""

from pathlib import Path

import pytest

from tests.endpoints.dicomweb.web import Web, application


@pytest.fixture
def web(tmp_path: Path) -> Web:
    return Web(application(tmp_path))
