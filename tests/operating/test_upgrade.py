"""The index of a store from revision to revision: forwards with its data, back, and back by the page's commands."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from requests_toolbelt.multipart.decoder import MultipartDecoder
from sqlalchemy import Connection, create_engine, inspect

from gateway.studies.migrating import VERSION_TABLE, configured, upgrade
from gateway.studies.tables import metadata
from tests.conftest import Serve
from tests.house.pages import rows
from tests.operating.page_commands import ROOT, run, section
from tests.require import require
from tests.studies import databases
from tests.studies.asking import Asking
from tests.studies.files import files
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

KEPT = Path(__file__).parent / "stores"
"""For each revision a store as that version of the gateway left it, and the answers that it gave from it."""
APP = "tests.apps.recalled:app"
FOREVER = "1e12"


@pytest.fixture(params=["sqlite", "postgresql"])
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connection]:
    """A transaction on an empty database."""
    if request.param == "sqlite":
        with create_engine(f"sqlite:///{tmp_path / 'index.sqlite'}").begin() as opened:
            yield opened
        return
    cluster: databases.Cluster = request.getfixturevalue("cluster")
    engine = create_engine(cluster.database().replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def revisions(connection: Connection) -> list[tuple[str, str]]:
    """Pairs of a revision and the one before it, the first first."""
    scripts = ScriptDirectory.from_config(configured(connection))
    return [(step.revision, str(step.down_revision or "base")) for step in scripts.walk_revisions()][::-1]


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return list(compare_metadata(context, metadata))


def test_each_migration_is_undone_and_done_again(connection: Connection) -> None:
    upgrade(connection)
    for revision, former in reversed(revisions(connection)):
        command.downgrade(configured(connection), former)
        command.upgrade(configured(connection), revision)
        command.downgrade(configured(connection), former)
    assert set(inspect(connection).get_table_names()) == {VERSION_TABLE}
    upgrade(connection)
    assert differences(connection) == []


def test_every_revision_has_a_store_and_a_row_on_the_page() -> None:
    with create_engine("sqlite://").connect() as connection:
        known = [revision for revision, _ in revisions(connection)]
    assert sorted(path.name for path in KEPT.iterdir()) == known
    assert [row[0] for row in rows(ROOT / "docs/upgrading.md", "revision")] == known


def restore(revision: str, folder: Path) -> Path:
    """The kept store of a revision in a folder of the test's own; its index."""
    shutil.copytree(KEPT / revision / "files", folder)
    index = folder / "index.sqlite"
    with closing(sqlite3.connect(index)) as database:
        database.executescript((KEPT / revision / "index.sql").read_text(encoding="utf-8"))
    return index


def variables(folder: Path) -> dict[str, str]:
    """The settings for a store, however old it is."""
    calls = str(folder.parent / "calls")
    return {"GATEWAY_STORE_FOLDER": str(folder), "TEST_CALLS": calls} | dict.fromkeys(
        ("GATEWAY_STORE_MAX_AGE", "GATEWAY_RUN_TTL"), FOREVER
    )


def start(serve: Serve, folder: Path) -> Asking:
    server = serve(APP, **variables(folder))
    asking = Asking(server.url)
    eventually(lambda: asking.ask("GET", "/readyz").status_code == 200)
    return asking


def assert_answers(asking: Asking, revision: str) -> None:
    answers = json.loads((KEPT / revision / "answers.json").read_text(encoding="utf-8"))
    for path, answer in answers["json"].items():
        assert asking.ask("GET", path).json() == answer, path
    response = asking.ask("GET", answers["result"]["path"])
    parts = MultipartDecoder(response.content, response.headers["Content-Type"]).parts
    assert [hashlib.sha256(part.content).hexdigest() for part in parts] == answers["result"]["sha256"]


@pytest.mark.parametrize("revision", sorted(path.name for path in KEPT.iterdir()))
def test_the_store_of_a_former_version_gives_its_answers(revision: str, serve: Serve, tmp_path: Path) -> None:
    restore(revision, tmp_path / "store")
    assert_answers(start(serve, tmp_path / "store"), revision)


def change_as_a_later_version(index: Path) -> None:
    with closing(sqlite3.connect(index)) as database:
        database.executescript(f"""
            ALTER TABLE instances RENAME COLUMN location TO place;
            UPDATE {VERSION_TABLE} SET version_num = '9999';
        """)


def test_an_index_of_a_later_version_is_refused_unchanged_until_that_of_the_backup_is_back(
    serve: Serve, tmp_path: Path
) -> None:
    require(shutil.which("sqlite3"), "the commands of the page need Debian's package sqlite3")
    data, backup = tmp_path / "lib", tmp_path / "backup"
    index = restore("0001", data / "store")
    (backup / "store").mkdir(parents=True)
    folders = {"/var/lib/gateway": data, "/srv/backup/gateway": backup}
    by_sqlite = [line for line in sum(section("backup.md", "Back up"), []) if "VACUUM" in line or "BACKUP=" in line]
    run(by_sqlite, folders)

    change_as_a_later_version(index)
    before = list(index_lines(index))
    command = [sys.executable, "-m", "gateway", "serve", APP, "--port", "0"]
    environment = {**os.environ, **variables(data / "store")}
    refused = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert refused.returncode == 3
    assert "its revision is 9999" in refused.stderr
    assert list(index_lines(index)) == before

    _, commands = section("upgrading.md", "Roll back")
    run(commands, folders)
    asking = start(serve, data / "store")
    assert_answers(asking, "0001")
    assert asking.send_missing(files(2, study="since the backup")) == 2


def index_lines(index: Path) -> Iterator[str]:
    with closing(sqlite3.connect(index)) as database:
        yield from database.iterdump()
