"""Files that hold studies, identifiers or records are this user's alone, whatever the umask."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.observe.audit.auditor import open_auditor
from gateway.studies.store import Store
from tests.observe.outcomes import outcome
from tests.studies.files import files, upload
from tests.waiting import eventually


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def readable_by_others(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]


def test_the_folder_of_a_store_and_all_that_is_in_it(tmp_path: Path, umask: int) -> None:
    store = Store.open(Settings(store_folder=tmp_path / "above" / "store"))
    upload(store, "one", files(2))
    with store.incoming():
        names = {path.name for path in store.folder.iterdir()}
        assert names >= {"index.sqlite", "index.sqlite-wal", "index.sqlite-shm", "instances", "incoming"}
        assert readable_by_others(tmp_path / "above") == []
    store.close()


def test_the_index_of_a_store_that_was_made_readable(tmp_path: Path) -> None:
    Store.open(Settings(store_folder=tmp_path / "store")).close()
    (tmp_path / "store" / "index.sqlite").chmod(0o644)
    store = Store.open(Settings(store_folder=tmp_path / "store"))
    upload(store, "one", files(1))
    assert readable_by_others(tmp_path / "store") == []
    store.close()


def test_the_files_of_an_audit_and_their_copies_in_sqlite(tmp_path: Path, umask: int) -> None:
    copies = tmp_path / "copies.db"
    auditor = open_auditor(Settings(audit_file=tmp_path / "audit.jsonl", audit_sql=f"sqlite:///{copies}"))
    assert auditor is not None
    auditor(outcome())
    eventually(lambda: copies.exists() and copies.stat().st_size)
    auditor.close()
    made = [path for path in tmp_path.iterdir() if path.is_file()]
    assert {path.name for path in made} >= {"audit.jsonl", "audit.jsonl.head", "audit.jsonl.key", "copies.db"}
    assert [path for path in made if path.stat().st_mode & 0o077] == []
