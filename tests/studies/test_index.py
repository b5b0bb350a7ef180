"""The connections of a store's index."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import literal, select

from gateway.studies.index import Index
from tests.studies.databases import Cluster


def test_a_connection_notices_a_lost_network_soon_unless_its_url_says_otherwise(
    cluster: Cluster, tmp_path: Path
) -> None:
    index = Index(tmp_path, cluster.database() + "&connect_timeout=3")
    with closing(index.driver_connection()) as connection:
        options = connection.info.get_parameters()
    assert (options["connect_timeout"], options["tcp_user_timeout"]) == ("3", "10000")
    index.close()


def test_a_connection_in_use_while_the_index_is_closed_is_closed_behind_it(tmp_path: Path, cluster: Cluster) -> None:
    for url in ("", cluster.database()):
        index = Index(tmp_path, url)
        with index.reading() as connection:
            used = connection.connection.dbapi_connection
            index.close()
            connection.execute(select(literal(1)))
        with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
            used.execute("SELECT 1")
