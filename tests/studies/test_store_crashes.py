"""A process killed at any stage of an upload leaves no half instance, and nothing after the next start."""

import hashlib
import signal

import pytest

from gateway.studies.retention import sweep
from tests.commands import FORKING
from tests.studies.conftest import OpenStore, blobs, incoming
from tests.studies.dying import STAGES, main
from tests.studies.files import files, states, upload
from tests.waiting import PATIENCE


def status_of_upload(folder: str, database_url: str, stage: str) -> int | None:
    """Upload two instances in a process that dies at a stage; return its exit status."""
    process = FORKING.Process(target=main, args=(folder, database_url, stage))
    process.start()
    process.join(PATIENCE)
    return process.exitcode


@pytest.mark.parametrize("stage", STAGES)
def test_an_upload_that_is_killed_leaves_nothing_half_and_can_be_sent_again(
    open_store: OpenStore, database_url: str, stage: str
) -> None:
    store, sent = open_store(), files(2)
    assert status_of_upload(str(store.folder), database_url, stage) == -signal.SIGKILL
    again = open_store()
    assert incoming(again) == []
    assert states(again, "one", sent) == ["missing"] * 2
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in blobs(again))
    sweep(again.index, again.folder / "incoming", again.blobs, 4e9)
    assert blobs(again) == []
    upload(again, "one", sent)
    assert states(again, "one", sent) == ["present"] * 2


def test_a_killed_upload_can_be_sent_again_before_anything_is_swept(open_store: OpenStore, database_url: str) -> None:
    store, sent = open_store(), files(2)
    stage = "before it is said who holds them"
    status_of_upload(str(store.folder), database_url, stage)
    assert len(blobs(store)) == 2
    upload(store, "one", sent)
    assert states(store, "one", sent) == ["present"] * 2
    assert len(blobs(store)) == 2


def test_a_store_that_syncs_to_the_disk_stores_the_same(open_store: OpenStore) -> None:
    store, sent = open_store(store_fsync=True), files(2)
    upload(store, "one", sent)
    assert states(open_store(), "one", sent) == ["present"] * 2
    assert sorted(path.read_bytes() for path in blobs(store)) == sorted(one.data for one in sent)
