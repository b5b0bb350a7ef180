"""A service of interactive models in this process, its client, and a small study."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway import Client, Execution, Gateway, Settings
from gateway.testing import client, phantom_study
from models.region_growing import grow
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
        for route, target in {"/paint": clicking.paint, "/organs": clicking.organs, "/still": clicking.still}.items():
            app.model(route, version="1.0.0")(target)
        app.model("/region-growing", version="1.0.0")(grow)
        app.model("/one", version="1.0.0", execution=Execution(concurrency=1))(clicking.paint)
        app.model("/brief", version="1.0.0", execution=Execution(timeout=1))(clicking.paint)
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
