"""The index of a store as PostgreSQL has it."""

from contextlib import closing
from pathlib import Path

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
