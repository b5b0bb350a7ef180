"""An instance is stored once, whole or not at all, for the callers that sent it; on SQLite and PostgreSQL."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway.errors import BrokenJSON, DigestMismatch, InstanceConflict, InstanceMismatch, StorageFull, StudyRefused
from gateway.studies.references import References
from gateway.studies.store import Store
from gateway.studies.tables import metadata
from gateway.studies.uploads import InstanceUpload
from tests.studies.conftest import OpenStore, blobs, incoming
from tests.studies.files import File, file, files, states, upload


def test_the_migrations_make_the_tables_of_the_code(store: Store) -> None:
    with store.index.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "store_version"})
        assert compare_metadata(context, metadata) == []


def test_what_was_sent_is_had_by_its_sender_and_missing_to_all_others(store: Store) -> None:
    sent = files(3)
    assert states(store, "one", sent) == ["missing"] * 3
    assert [one.state for one in upload(store, "one", sent)] == ["stored"] * 3
    assert states(store, "one", sent) == ["present"] * 3
    assert states(store, "other", sent) == ["missing"] * 3
    assert states(store, "", sent) == ["missing"] * 3


def test_an_instance_of_two_callers_is_stored_once(store: Store) -> None:
    sent = files(3)
    for caller in ("one", "other"):
        upload(store, caller, sent)
        assert states(store, caller, sent) == ["present"] * 3
    assert sorted(path.name for path in blobs(store)) == sorted(one.entry.sha256 for one in sent)
    assert incoming(store) == []


def test_sending_again_does_no_harm(store: Store) -> None:
    sent = files(2)
    upload(store, "one", sent)
    assert [one.state for one in upload(store, "one", [*files(3)])] == ["stored"] * 3
    assert len(blobs(store)) == 3


def test_a_stored_file_has_its_digest_as_name_and_the_bytes_that_were_sent(store: Store) -> None:
    one = file(1)
    upload(store, "one", [one])
    (path,) = blobs(store)
    name = one.entry.sha256
    assert path.relative_to(store.folder / "instances").parts == (name[:2], name)
    assert path.read_bytes() == one.data
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:-1] + b"\xff"])
def test_a_file_of_another_digest_is_refused_and_nothing_of_its_chunk_is_stored(store: Store, spoil: object) -> None:
    good, bad = files(2)
    with pytest.raises(DigestMismatch) as refused:
        upload(store, "one", [good, replace(bad, data=spoil(bad.data))])
    assert refused.value.members["instance"] == 1
    assert states(store, "one", [good, bad]) == ["missing"] * 2
    assert blobs(store) == incoming(store) == []


@pytest.mark.parametrize("name", ["sop_instance_uid", "series_instance_uid", "study_instance_uid"])
def test_a_file_with_other_uids_inside_is_refused_and_not_stored(store: Store, name: str) -> None:
    one = file(1)
    with pytest.raises(InstanceMismatch, match="other UIDs"):
        upload(store, "one", [File(replace(one.entry, **{name: "1.2.3"}), one.data)])
    assert blobs(store) == incoming(store) == []


def test_a_file_that_is_not_dicom_is_refused_and_not_stored(store: Store) -> None:
    data = b"GIF89a" + bytes(300)
    entry = replace(file(1).entry, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(InstanceMismatch, match="is no DICOM"):
        upload(store, "one", [File(entry, data)])
    assert blobs(store) == incoming(store) == []


@pytest.mark.parametrize("dicomweb", [False, True])
def test_a_file_whose_pixels_are_cut_off_is_refused_and_not_stored(open_store: OpenStore, dicomweb: bool) -> None:
    store, whole, data = open_store(dicomweb=dicomweb), file("whole"), file("cut").data[:-10]
    entry = replace(file("cut").entry, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(StudyRefused) as refused:
        upload(store, "one", [whole, File(entry, data)])
    assert refused.value.members["instance"] == 1
    assert blobs(store) == incoming(store) == []


@pytest.mark.parametrize("count", [0, 2])
def test_other_numbers_of_files_than_entries_are_refused(store: Store, count: int) -> None:
    one = file(1)
    with pytest.raises(BrokenJSON), InstanceUpload(store, "one", "fail", [one.entry]) as batch:
        for _ in range(count):
            batch.begin()
            batch.write(one.data)
            batch.end()
        batch.keep()
    assert blobs(store) == incoming(store) == []


def test_another_file_of_one_instance_is_a_conflict_with_both_digests(store: Store) -> None:
    old, new, beside = file(1), file(1, note="new"), file(2)
    upload(store, "one", [old])
    assert store.states("one", [new.entry]) == [("conflict", old.entry.sha256)]
    with pytest.raises(InstanceConflict) as refused:
        upload(store, "one", [beside, new])
    assert refused.value.members["conflicts"] == [
        {"sop_instance_uid": new.entry.sop_instance_uid, "sha256": new.entry.sha256, "existing": old.entry.sha256}
    ]
    assert states(store, "one", [old, beside]) == ["present", "missing"]


def test_a_conflict_can_keep_the_old_file(store: Store) -> None:
    old, new, beside = file(1), file(1, note="new"), file(2)
    upload(store, "one", [old])
    outcomes = [(one.state, one.existing) for one in upload(store, "one", [beside, new], "keep")]
    assert outcomes == [("stored", None), ("kept", old.entry.sha256)]
    assert states(store, "one", [old, beside, new]) == ["present", "present", "conflict"]
    assert new.entry.sha256 not in {path.name for path in blobs(store)}


def test_a_conflict_can_replace_the_old_file(store: Store) -> None:
    old, new = file(1), file(1, note="new")
    upload(store, "one", [old])
    assert [(one.state, one.existing) for one in upload(store, "one", [new], "replace")] == [
        ("replaced", old.entry.sha256)
    ]
    assert states(store, "one", [new]) == ["present"]
    assert [path.name for path in blobs(store)] == [new.entry.sha256]


def test_what_one_caller_replaces_stays_for_the_other(store: Store) -> None:
    old, new = file(1), file(1, note="new")
    for caller in ("one", "other"):
        upload(store, caller, [old])
    upload(store, "one", [new], "replace")
    assert states(store, "other", [old]) == ["present"]
    assert len(blobs(store)) == 2


def test_another_callers_file_of_the_same_instance_is_no_conflict(store: Store) -> None:
    old, new = file(1), file(1, note="new")
    upload(store, "one", [old])
    assert states(store, "other", [new]) == ["missing"]
    assert [one.state for one in upload(store, "other", [new])] == ["stored"]
    assert states(store, "one", [old]) == states(store, "other", [new]) == ["present"]


def test_a_manifest_that_names_two_files_for_one_instance_is_in_conflict_with_itself(store: Store) -> None:
    first, second = file(1), file(1, note="new")
    said = store.states("one", [first.entry, second.entry])
    assert said == [("missing", None), ("conflict", first.entry.sha256)]


@pytest.mark.heavy
@pytest.mark.parametrize("database_url", [""])  # PostgreSQL has no such limit that a session could set
def test_an_index_without_room_is_a_507_and_leaves_the_store_clean(store: Store) -> None:
    with store.index.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    sent = files(400)
    with pytest.raises(StorageFull):
        upload(store, "one", sent)
    assert blobs(store) == incoming(store) == []
    assert set(states(store, "one", sent)) == {"missing"}


def test_stores_that_share_a_folder_store_each_instance_once(open_store: OpenStore) -> None:
    sent, stores, failures = files(24), [open_store() for _ in range(5)], list[BaseException]()

    def work(number: int) -> None:
        try:
            for start in range(0, 24, 4):
                upload(stores[number], f"caller {number % 3}", sent[start : start + 8])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(path.name for path in blobs(stores[0])) == sorted(one.entry.sha256 for one in sent)
    assert incoming(stores[0]) == []


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_sending_again_restores_a_file_that_was_lost(store: Store, lose: Callable[[Path], object]) -> None:
    sent = files(2)
    upload(store, "one", sent)
    lose(blobs(store)[0])
    upload(store, "other", sent)
    for caller in ("one", "other"):
        with References(store).resolve({"instances": [one.entry.sha256 for one in sent]}, caller) as resolved:
            assert [file.read() for file in resolved.files] == [one.data for one in sent]
