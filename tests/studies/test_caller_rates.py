"""The rates of callers over all hosts: exact on PostgreSQL, each caller's own, and never a reason to wait long."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import select, update

from gateway import Settings
from gateway.access.rate_limits import CallerLimits
from gateway.access.shared_table import SharedTable
from gateway.errors import TooManyRequests, Unavailable
from gateway.studies import caller_rates
from gateway.studies.caller_rates import ASKING, REST_SECONDS, CallerRates
from gateway.studies.index import Index
from gateway.studies.tables import caller_rates as table
from tests.studies.databases import Cluster
from tests.waiting import PATIENCE, eventually

SETTINGS = Settings(caller_rate=1, caller_burst=20, caller_hosts=2)
"""A token a minute: none comes back while a test lasts."""
FULL = (
    "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$",
    "CREATE TRIGGER full_disk BEFORE INSERT ON caller_rates EXECUTE FUNCTION full_disk()",
)
"""Have the table answer as on a full disk."""


@pytest.fixture
def indexes(cluster: Cluster, tmp_path: Path) -> Iterator[list[Index]]:
    """The index as two hosts have it."""
    url = cluster.database()
    opened = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        opened.append(Index(tmp_path / name, url))
    yield opened
    for index in opened:
        index.close()


def test_two_hosts_that_ask_at_once_grant_one_burst(indexes: list[Index]) -> None:
    hosts = [CallerRates(index, SETTINGS) for index in indexes]
    with ThreadPoolExecutor(ASKING) as threads:
        waits = list(threads.map(lambda number: hosts[number % 2].take("one"), range(40)))
    assert waits.count(0.0) == 20
    assert all(0 < wait <= 60 for wait in waits if wait)
    assert hosts[0].take("other") == 0.0


def test_a_bucket_fills_with_the_time_of_the_database(indexes: list[Index]) -> None:
    first, second = (CallerRates(index, SETTINGS) for index in indexes)
    while not first.take("one"):
        pass
    with indexes[0].writing() as connection:
        connection.execute(update(table).values(at=table.c.at - 120))
    assert [second.take("one") > 0 for _ in range(3)] == [False, False, True]
    with indexes[0].writing() as connection:
        connection.execute(update(table).values(at=table.c.at + 3600))  # the clock of the database is set back
    assert second.take("one") > 60


def test_what_is_not_used_is_pruned(indexes: list[Index]) -> None:
    index = indexes[0]
    CallerRates(index, SETTINGS).take("one")
    with index.writing() as connection:
        caller_rates.prune(connection, index.now() - 3600)
        assert connection.execute(select(table.c.caller)).scalars().all() == ["one"]
        caller_rates.prune(connection, index.now() + 3600)
        assert connection.execute(select(table.c.caller)).scalars().all() == []


def test_while_the_database_is_away_a_host_grants_its_part_and_asks_again_later(
    cluster: Cluster, tmp_path: Path
) -> None:
    way, elapsed = tmp_path / "pg", [0.0]
    way.symlink_to(cluster.folder)
    index = Index(tmp_path, cluster.database().replace(quote(str(cluster.folder)), quote(str(way))))
    rates = CallerRates(index, SETTINGS, lambda: elapsed[0])
    limits = CallerLimits(SETTINGS, SharedTable(), lambda: 1000.0)
    limits.shared_bucket = rates.take
    limits.enter("one")
    way.unlink()
    index.close()  # its connections end, and there is no way to new ones
    granted = 0
    with pytest.raises(TooManyRequests, match="is 0.5 requests a minute"):
        while True:
            limits.enter("one")
            granted += 1
    assert granted == 10
    way.symlink_to(cluster.folder)
    with pytest.raises(Unavailable):
        rates.take("one")
    elapsed[0] += REST_SECONDS
    assert [rates.take("one") > 0 for _ in range(20)] == [False] * 19 + [True]
    index.close()


def test_while_the_database_is_full_a_host_grants_its_part(indexes: list[Index]) -> None:
    with indexes[0].writing() as connection:
        for statement in FULL:
            connection.exec_driver_sql(statement)
    limits = CallerLimits(SETTINGS, SharedTable(), lambda: 1000.0)
    limits.shared_bucket = CallerRates(indexes[0], SETTINGS).take
    for _ in range(10):
        limits.enter("one")
    with pytest.raises(TooManyRequests):
        limits.enter("one")


def test_a_database_that_hangs_holds_no_more_requests_than_ask_at_once(indexes: list[Index]) -> None:
    rates = CallerRates(indexes[0], SETTINGS)
    rates.take("one")
    with ThreadPoolExecutor(ASKING) as threads:
        with indexes[1].writing() as connection:
            connection.exec_driver_sql("LOCK TABLE caller_rates IN ACCESS EXCLUSIVE MODE")
            asking = [threads.submit(rates.take, "one") for _ in range(ASKING)]
            eventually(lambda: _waiting(indexes[1]) == ASKING)
            with pytest.raises(Unavailable):
                rates.take("one")
        assert [one.result(PATIENCE) for one in asking] == [0.0] * ASKING


def _waiting(index: Index) -> int:
    """How many sessions of the database wait for a lock on the table."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'caller_rates'::regclass"
    with index.reading() as connection:
        return int(connection.exec_driver_sql(query).scalar_one())
