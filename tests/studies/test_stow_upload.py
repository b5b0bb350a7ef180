"""Parts of one STOW-RS request, hashed as they are written or beside the next ones: with the same outcome."""

import hashlib

import pytest

from gateway.studies.store import Store
from gateway.studies.stow_upload import DUPLICATE, MISMATCH, UNREADABLE, StowUpload
from tests.studies.conftest import OpenStore, blobs, incoming
from tests.studies.files import File, file, files


@pytest.fixture
def lasting(open_store: OpenStore) -> Store:
    """A store that waits for the disk."""
    return open_store(dicomweb=True, store_fsync=True)


def send(upload: StowUpload, data: bytes, media_type: str = "") -> None:
    upload.begin_part(media_type)
    for start in range(0, len(data), 1000):
        upload.write(memoryview(data)[start : start + 1000])
    upload.end()


@pytest.mark.parametrize("overlap", [False, True])
def test_each_part_is_judged_in_its_turn(lasting: Store, overlap: bool) -> None:
    sent = files(3, study="one")
    study = sent[0].entry.study_instance_uid
    other = file("other")
    changed = File(sent[0].entry, sent[0].data[:-2] + b"\x01\x02")
    with StowUpload(lasting, "one", study, overlap=overlap) as upload:
        for part in (sent[0], other, sent[1], sent[1], changed):
            send(upload, part.data)
        send(upload, sent[2].data, "text/plain")
        send(upload, b"no instance")
        send(upload, sent[2].data[:-100])
        send(upload, sent[2].data)
        outcome = upload.keep()
    assert [failure.reason for failure in outcome.failures] == [MISMATCH, DUPLICATE, UNREADABLE, UNREADABLE, UNREADABLE]
    assert [instance.entry for instance in outcome.stored] == [one.entry for one in sent]
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in blobs(lasting)] == [
        path.name for path in blobs(lasting)
    ]
    assert (len(blobs(lasting)), incoming(lasting)) == (3, [])


@pytest.mark.parametrize("parts", [1, 4])
def test_a_request_that_is_broken_off_leaves_nothing(lasting: Store, parts: int) -> None:
    with pytest.raises(ConnectionError), StowUpload(lasting, "one", overlap=True) as upload:
        for one in files(parts):
            send(upload, one.data)
        upload.begin_part("")
        upload.write(b"the beginning")
        raise ConnectionError
    assert (blobs(lasting), incoming(lasting)) == ([], [])
