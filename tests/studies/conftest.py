"""A store in an empty folder, on each database, with a clock that only the test moves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway import Settings
from gateway.studies.store import Store
from tests.require import require
from tests.studies import databases

START = 1_700_000_000.0


@pytest.fixture(scope="session")
def cluster() -> Iterator[databases.Cluster]:
    require(databases.program("initdb"), databases.MISSING)
    with databases.cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The setting: "" for SQLite in the folder ``store``, or a fresh database of PostgreSQL; it has its tables."""
    if request.param == "sqlite":
        (tmp_path / "store").mkdir(0o700)
        (tmp_path / "store" / "index.sqlite").write_bytes(databases.sqlite())
        return ""
    url: str = request.getfixturevalue("cluster").index()
    return url


@dataclass
class Clock:
    """Seconds since 1970, as set by the test."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


OpenStore = Callable[..., Store]


@pytest.fixture
def open_store(tmp_path: Path, database_url: str, clock: Clock) -> Iterator[OpenStore]:
    """Open a store with settings of the test's own; several share one folder and one database."""
    opened: list[Store] = []

    def start(upkeep_seconds: float = 3600.0, **settings: Any) -> Store:
        values = {"store_folder": tmp_path / "store", "database_url": database_url} | settings
        opened.append(Store.open(Settings(**values), clock=clock, upkeep_seconds=upkeep_seconds))
        return opened[-1]

    yield start
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


def blobs(store: Store, kind: str = "instances") -> list[Path]:
    """All stored files of a kind, quarantine included."""
    return sorted(path for path in (store.folder / kind).rglob("*") if path.is_file())


def incoming(store: Store) -> list[Path]:
    """All files on their way in."""
    return sorted((store.folder / "incoming").iterdir())
