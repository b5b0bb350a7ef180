"""A PostgreSQL and a bucket for the tests of the operators' pages; they outlive the servers that are connected."""

from collections.abc import Iterator

import pytest

from tests.operating.hosts import Bucket, opened_bucket
from tests.require import require
from tests.studies import databases


@pytest.fixture(scope="session")
def cluster() -> Iterator[databases.Cluster]:
    require(databases.program("initdb") and databases.program("pg_dump"), databases.MISSING)
    with databases.cluster() as running:
        yield running


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with opened_bucket(tmp_path_factory.mktemp("aws")) as bucket:
        yield bucket
