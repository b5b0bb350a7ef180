"""A PostgreSQL for the tests of the operators' pages; it outlives the servers that are connected to it."""

from collections.abc import Iterator

import pytest

from tests.require import require
from tests.studies import databases


@pytest.fixture(scope="session")
def cluster() -> Iterator[databases.Cluster]:
    require(databases.program("initdb") and databases.program("pg_dump"), databases.MISSING)
    with databases.cluster() as running:
        yield running
