"""Debian's Orthanc, unmodified, as a peer of the gateway: stored there, found there, fetched from there."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.errors import StudyNotFound
from gateway.peers.peer import FetchLimits, FetchTarget, OutgoingInstance, PeerQuery
from gateway.peers.peer_entries import PeerEntry, WebAddress
from gateway.peers.web_peer import WebPeer
from tests.endpoints.dicomweb import orthanc
from tests.endpoints.dicomweb.web import sample, uids
from tests.peers.scripted import Taken
from tests.peers.test_fetching import LOCAL, Gateway, Settings, answer_of, session, sizes
from tests.require import require
from tests.studies.files import files

pytestmark = pytest.mark.slow

SENT = [*(one.data for one in files(4, study="orthanc")), sample("JPEG2000.dcm"), sample("CT_small.dcm")]
LIMITS = FetchLimits(1 << 30, 1000)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc.Orthanc]:
    require(orthanc.program(), orthanc.MISSING)
    with orthanc.orthanc(tmp_path_factory.mktemp("orthanc"), {}) as started:
        yield started


@pytest.fixture
def peer(running: orthanc.Orthanc) -> Iterator[WebPeer]:
    made = WebPeer(PeerEntry("orthanc", web=WebAddress(f"{running.url}/dicom-web")))
    yield made
    made.close()


def outgoing(data: bytes) -> OutgoingInstance:
    return OutgoingInstance(uids(data)[2], len(data), lambda: io.BytesIO(data))


def original(running: orthanc.Orthanc, data: bytes) -> bytes:
    """What Orthanc has of an instance, by its own interface."""
    found = requests.post(f"{running.url}/tools/lookup", data=uids(data)[2], timeout=60).json()
    name = next(each["ID"] for each in found if each["Type"] == "Instance")
    return running.get(f"/instances/{name}/file").content


def test_files_are_stored_found_and_fetched_as_they_are_stored(running: orthanc.Orthanc, peer: WebPeer) -> None:
    peer.echo()
    sent = peer.store(map(outgoing, SENT))
    assert [each.sop_instance_uid for each in sent.stored] == [uids(data)[2] for data in SENT]
    assert sent.refused == []
    for data in SENT:
        taken = Taken()
        assert peer.fetch(FetchTarget(*uids(data)), taken, LIMITS) == 1
        assert taken.files == [original(running, data)]
        assert taken.files == [data]
    study = uids(SENT[0])[0]
    whole = Taken()
    assert peer.fetch(FetchTarget(study), whole, LIMITS) == 4
    assert sorted(map(bytes, whole.files)) == sorted(SENT[:4])
    assert len(list(peer.find(PeerQuery("instance", study)))) == 4
    assert len(list(peer.find(PeerQuery("series", study)))) == 1
    assert len(list(peer.find(PeerQuery(filters={"StudyInstanceUID": study}, fields=["StudyDescription"])))) == 1
    assert list(peer.find(PeerQuery(filters={"PatientID": "nobody"}))) == []


def test_what_is_not_there_is_not_found(peer: WebPeer) -> None:
    with pytest.raises(StudyNotFound):
        peer.fetch(FetchTarget("1.2.3"), Taken(), LIMITS)
    assert list(peer.find(PeerQuery("instance", "1.2.3"))) == []


def test_a_request_has_a_study_fetched_from_it(running: orthanc.Orthanc, peer: WebPeer, tmp_path: Path) -> None:
    peer.store(map(outgoing, SENT))
    file = tmp_path / "peers.toml"
    file.write_text(f'[peers.pacs]\ndicomweb = "{running.url}/dicom-web"\ncallers = ["*"]\n')
    app = Gateway(__name__, settings=Settings(store_folder=tmp_path / "store", peers=file))
    app.add_inference_route("/sizes", sizes)
    order: dict[str, Any] = {"study": uids(SENT[0])[0], "from": "pacs"}
    answer = answer_of(session(app).post(f"{LOCAL}/sizes", json=order))
    assert sorted(answer["sizes"]) == sorted(len(data) for data in SENT[:4])
