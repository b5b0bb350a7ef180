"""A process killed at any stage of an upload leaves no half instance, and nothing after the next start."""

import hashlib
import signal
import subprocess
import sys

import pytest

from gateway.studies.retention import sweep
from tests.conftest import ROOT
from tests.studies.conftest import OpenStore, blobs, incoming
from tests.studies.dying import STAGES
from tests.studies.files import files, states, upload


@pytest.mark.parametrize("stage", STAGES)
def test_an_upload_that_is_killed_leaves_nothing_half_and_can_be_sent_again(
    open_store: OpenStore, database_url: str, stage: str
) -> None:
    store, sent = open_store(), files(2)
    command = [sys.executable, "-m", "tests.studies.dying", str(store.folder), database_url, stage]
    died = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
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
    command = [sys.executable, "-m", "tests.studies.dying", str(store.folder), database_url, stage]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert len(blobs(store)) == 2
    upload(store, "one", sent)
    assert states(store, "one", sent) == ["present"] * 2
    assert len(blobs(store)) == 2


def test_a_store_that_syncs_to_the_disk_stores_the_same(open_store: OpenStore) -> None:
    store, sent = open_store(store_fsync=True), files(2)
    upload(store, "one", sent)
    assert states(open_store(), "one", sent) == ["present"] * 2
    assert sorted(path.read_bytes() for path in blobs(store)) == sorted(one.data for one in sent)
