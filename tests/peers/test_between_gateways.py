"""One gateway as the peer of another, both under gunicorn: sent there, found there, fetched from there."""

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.errors import PeerFailed, StudyNotFound
from gateway.peers.peer import FetchLimits, FetchTarget, OutgoingInstance, PeerQuery
from gateway.peers.peer_directory import PeerDirectory
from tests.conftest import Serve, Server
from tests.endpoints.dicomweb.web import AS_STORED, split
from tests.peers.scripted import Taken
from tests.studies.files import File, files
from tests.waiting import PATIENCE

STUDY = files(12)
UID = STUDY[0].entry.study_instance_uid


@dataclass
class Pair:
    """The two servers, and the file in which the first is a peer of the second."""

    archive: Server
    gateway: Server
    file: Path

    def infer(self, **words: object) -> requests.Response:
        return requests.post(f"{self.gateway.url}/dense", json={"study": UID, "from": "archive"} | words, timeout=60)


@pytest.fixture(scope="module")
def pair(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder, key = tmp_path_factory.mktemp("pair"), new_key()
    caller = Caller("gateway", frozenset({"read", "write"}))
    change(folder / "callers.json", lambda _: [CallerEntry(caller, fingerprint(key))])
    settings = {"GATEWAY_API_KEYS_FILE": str(folder / "callers.json"), "GATEWAY_STORE_FOLDER": str(folder / "archive")}
    archive = serve("tests.apps.typed:app", GATEWAY_DICOMWEB="1", **settings)
    file = folder / "peers.toml"
    for name, password in (("key", key), ("wrong", new_key())):
        (folder / name).write_text(password)
        (folder / name).chmod(0o600)
    head = f'dicomweb = "{archive.url}/dicomweb"\nuser = "gateway"\ncallers = ["*"]\n'
    file.write_text(f'[peers.archive]\n{head}password_file = "key"\n[peers.wrong]\n{head}password_file = "wrong"\n')
    settings = {"GATEWAY_STORE_FOLDER": str(folder / "store"), "GATEWAY_PEERS": str(file)}
    return Pair(archive, serve("tests.apps.typed:app", GATEWAY_DICOMWEB="1", **settings), file)


def outgoing(one: File) -> OutgoingInstance:
    return OutgoingInstance(one.entry.sop_instance_uid, len(one.data), lambda: io.BytesIO(one.data))


def test_a_study_goes_to_a_peer_and_comes_back_byte_by_byte(pair: Pair) -> None:
    directory = PeerDirectory.open(pair.file, lambda *_: None)
    peer, limits = directory.peer("archive"), FetchLimits(1 << 30, 100)
    peer.echo()
    sent = peer.store(map(outgoing, STUDY))
    assert ([each.sop_instance_uid for each in sent.stored], sent.refused) == (
        [one.entry.sop_instance_uid for one in STUDY],
        [],
    )
    assert len(list(peer.find(PeerQuery("instance", UID)))) == 12
    assert len(list(peer.find(PeerQuery("instance", UID, limit=5)))) == 5
    (found,) = peer.find(PeerQuery(filters={"StudyInstanceUID": UID}))
    assert found["00201208"]["Value"] == [12]
    taken = Taken()
    assert peer.fetch(FetchTarget(UID), taken, limits) == 12
    assert sorted(map(bytes, taken.files)) == sorted(one.data for one in STUDY)
    with pytest.raises(StudyNotFound):
        peer.fetch(FetchTarget("1.2.3"), Taken(), limits)
    assert list(peer.find(PeerQuery("series", "1.2.3"))) == []
    with pytest.raises(PeerFailed):
        directory.peer("wrong").echo()
    directory.close()


def test_a_request_has_the_study_fetched(pair: Pair) -> None:
    assert pair.infer(**{"from": "wrong"}).status_code == 502
    first = pair.infer()
    assert first.status_code == 200, first.text
    again = pair.infer()
    assert again.status_code == 200
    accept = {"Accept": AS_STORED}
    stored = requests.get(f"{pair.gateway.url}/dicomweb/studies/{UID}", headers=accept, timeout=PATIENCE)
    assert sorted(data for _, data in split(stored)) == sorted(one.data for one in STUDY)
    metrics = requests.get(f"{pair.gateway.url}/metrics", timeout=PATIENCE).text
    assert 'gateway_peer_operations_total{operation="fetch",outcome="ok",peer="archive"} 1.0' in metrics
    assert 'gateway_peer_operations_total{operation="find",outcome="ok",peer="archive"} 2.0' in metrics
    assert 'gateway_peer_operations_total{operation="find",outcome="failed",peer="wrong"} 1.0' in metrics
    assert UID not in pair.gateway.log


def test_without_its_peer_a_gateway_answers_about_what_is_stored(pair: Pair) -> None:
    assert pair.infer().status_code == 200
    pair.archive.stop()
    assert pair.infer().status_code == 503
    assert requests.post(f"{pair.gateway.url}/dense", json={"study": UID}, timeout=PATIENCE).status_code == 200
