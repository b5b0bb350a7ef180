"""The DICOM network on a store whose index is PostgreSQL: what SQLite's tests show of one process holds there, too."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.dimse.test_dimse_process import DCMTK, Network, scu, write
from tests.require import require
from tests.studies import databases
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    require(databases.program("initdb"), databases.MISSING)
    with databases.cluster() as running:
        yield running.database()


def test_two_processes_store_on_one_index_and_find_what_either_has(tmp_path: Path, database: str) -> None:
    require(shutil.which("storescu"), DCMTK)
    options = {"GATEWAY_DATABASE_URL": database, "GATEWAY_DICOMWEB": "1"}
    with contextlib.ExitStack() as stack:
        networks = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            networks.append(Network(tmp_path / name, GATEWAY_STORE_FOLDER=str(tmp_path / "store"), **options))
            stack.callback(networks[-1].kill)
        studies = [write(tmp_path / f"study {n}", 20, study=n % 2, series=n) for n in range(4)]
        sending = [
            subprocess.Popen(
                ["storescu", "+sd", "-aet", "CT1", "-aec", "GATEWAY", "127.0.0.1", str(networks[n % 2].port), study],
                env={"TCP_NODELAY": "1", "PATH": "/usr/bin"},
            )
            for n, study in enumerate(studies)
        ]
        assert [process.wait(PATIENCE) for process in sending] == [0] * 4
        with psycopg.connect(database) as connection:
            held = connection.execute("SELECT count(*) FROM holdings WHERE caller = 'ct1'").fetchone()
            arrived = connection.execute("SELECT sum(instances), count(*) FROM arrivals").fetchone()
        assert held == (80,)
        assert arrived == (80, 4)
        keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "NumberOfStudyRelatedInstances"]
        for network in networks:
            found = scu(network, "findscu", *keys)
            assert found.returncode == 0
            assert (found.stdout + found.stderr).count("Find Response: ") >= 2
        again = scu(networks[0], "storescu", "+sd", studies[1])
        assert again.returncode == 0
