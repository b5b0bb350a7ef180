"""The clock of a store: hosts whose own clocks differ agree by that of PostgreSQL."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import Connection

from gateway.errors import Unavailable
from gateway.studies.index import Index
from gateway.studies.index_clock import IndexClock
from tests.studies.databases import Cluster

TRUE = time.time
NEAR = 20.0
"""Seconds that a test may take on a busy machine; clocks are set by far more."""


@pytest.fixture
def index(cluster: Cluster, tmp_path: Path) -> Iterator[Index]:
    opened = Index(tmp_path, cluster.database())
    yield opened
    opened.close()


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set the clock of this host forward, or back."""
    monkeypatch.setattr(time, "time", lambda: TRUE() + seconds)


@pytest.mark.parametrize("seconds", [600.0, -600.0])
def test_a_host_with_a_wrong_clock_has_the_time_of_the_database(
    index: Index, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    set_clock(monkeypatch, seconds)
    assert abs(index.now() - TRUE()) < NEAR


def test_a_clock_that_is_set_meanwhile_is_measured_again(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.now()
    for seconds in (3600.0, 0.0):
        set_clock(monkeypatch, seconds)
        assert abs(index.now() - TRUE()) < NEAR


def test_it_is_measured_when_the_index_opens(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = tmp_path / "pg"
    way.symlink_to(cluster.folder)
    set_clock(monkeypatch, 600.0)
    index = Index(tmp_path, cluster.database().replace(quote(str(cluster.folder)), quote(str(way))))
    way.unlink()
    index.close()  # its connections end, and there is no way to new ones
    assert abs(index.now() - TRUE()) < NEAR


def test_within_a_transaction_it_is_measured_beside_it(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, 600.0)
    with index.writing():
        assert abs(index.now() - TRUE()) < NEAR


def test_without_the_database_the_former_difference_stays(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    away = False

    def reading() -> AbstractContextManager[Connection]:
        if away:
            raise Unavailable("The study store does not answer; try again.")
        return index.reading()

    clock = IndexClock(reading, shared=True)
    set_clock(monkeypatch, 600.0)
    clock()
    away = True
    set_clock(monkeypatch, 1200.0)  # it is measured again, in vain
    assert abs(clock() - TRUE() - 600.0) < NEAR


def test_one_host_has_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(tmp_path)
    set_clock(monkeypatch, 600.0)
    assert abs(index.now() - TRUE() - 600.0) < NEAR
    index.close()
