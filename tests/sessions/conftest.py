"""A service of interactive models in this process, its client, and a small study."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway import Client, Gateway, Settings
from gateway.testing import client, phantom_study
from tests.apps import clicking

OpenApp = Callable[..., Gateway]
Open = Callable[..., Client]


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A phantom of 8 slices of 32 x 32."""
    return phantom_study(tmp_path_factory.mktemp("study"), slices=8, size=32)


@pytest.fixture
def open_app() -> Iterator[OpenApp]:
    """Make a service with these settings; it is closed after the test."""
    apps: list[Gateway] = []

    def open_(**settings: object) -> Gateway:
        app = Gateway(__name__, settings=Settings(**settings))
        clicking.add_models(app, *clicking.MODELS)
        apps.append(app)
        return app

    yield open_
    for app in apps:
        app.close()


@pytest.fixture
def open_client(open_app: OpenApp) -> Open:
    """Make a client of a service with these settings."""
    return lambda **settings: client(open_app(**settings))


@pytest.fixture
def one(open_client: Open) -> Client:
    """A client of a service with the default settings."""
    return open_client()
