"""A file that was checked lately is not read again, until it changes or an hour has passed."""

import os
from pathlib import Path

import pytest

from gateway.errors import StudyNotFound
from gateway.studies import instance_rows
from gateway.studies.checked_files import CheckedFiles
from gateway.studies.instance_rows import HeldInstance
from gateway.studies.store import Store
from gateway.studies.tables import instances as table
from tests.studies.conftest import Clock, blobs
from tests.studies.files import File, files, upload

DIGEST = "0" * 64


def held(store: Store, sent: list[File]) -> list[HeldInstance]:
    of_study = table.c.study_instance_uid == sent[0].entry.study_instance_uid
    with store.index.reading() as connection:
        return instance_rows.held(connection, "one", store.retention.since, of_study)


def test_a_file_is_known_until_it_changes_or_an_hour_has_passed(tmp_path: Path, clock: Clock) -> None:
    known, path = CheckedFiles(clock=clock), tmp_path / "file"
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 1))
    status = path.stat()
    assert not known.has(status, DIGEST)
    known.add(status, DIGEST)
    assert known.has(path.stat(), DIGEST)
    assert not known.has(path.stat(), "1" * 64)
    clock.now += 3601
    assert not known.has(path.stat(), DIGEST)
    known.add(path.stat(), DIGEST)
    path.chmod(0o640)  # any change of the inode counts
    assert not known.has(path.stat(), DIGEST)


def test_no_more_files_are_remembered_than_the_limit(tmp_path: Path) -> None:
    known, paths = CheckedFiles(most=2), [tmp_path / name for name in "abc"]
    for path in paths:
        path.touch()
        known.add(path.stat(), DIGEST)
    assert [known.has(path.stat(), DIGEST) for path in paths] == [False, True, True]


@pytest.mark.parametrize("unchanged", [False, True])
def test_a_stored_file_that_changes_is_found_each_time(store: Store, unchanged: bool) -> None:
    sent = files(2)
    upload(store, "one", sent)
    instances = held(store, sent)
    for opened in store.open_instances(instances, unchanged=unchanged):
        assert opened.read() in [one.data for one in sent]
        opened.close()
    path = blobs(store)[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(StudyNotFound):
        store.open_instances(instances, unchanged=unchanged)
    assert held(store, sent) == []


def test_a_file_that_was_checked_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = files(1)
    upload(store, "one", sent)
    monkeypatch.setattr("gateway.studies.folder.hashlib.file_digest", lambda *_: pytest.fail("it is read again"))
    for opened in store.open_instances(held(store, sent), unchanged=True):
        opened.close()
