"""A running service with a route for each wrapper in ``wrappers/``."""

import pytest

from tests.conftest import Serve, Server


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("tests.adapters.service:app")
