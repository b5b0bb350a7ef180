"""TLS on the DICOM network: both ends show certificates, and an AE title may be bound to one."""

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.dimse.listening import Certificates
from gateway.errors import PeerFailed, Unavailable
from gateway.peers.dimse_peer import DimsePeer
from gateway.peers.peer import OutgoingInstance
from gateway.peers.peer_entries import DimseAddress, PeerEntry
from tests.access.certificates import Authority, named
from tests.dimse.raw_peer import RawPeer, request
from tests.dimse.serving import Serving, serving
from tests.studies.files import files

# pynetdicom leaves the socket of a connection that fails to the garbage collector
pytestmark = [
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("dropped_sockets"),
]

TITLES = """
[ae.CT1]
address = ["127.0.0.1"]
caller = "ct1"
may = ["store"]
subject = "CN=ct1"
"""


class Secured:
    """A server with TLS, and certificates of its authority."""

    def __init__(self, served: Serving, authority: Authority, folder: Path) -> None:
        self.served, self._authority = served, authority
        self.certificates = {common: authority.sign(named(CN=common), f"{common}.pem") for common in ("ct1", "ct2")}

    def peer(self, certificate: str | None, calling: str = "CT1") -> DimsePeer:
        address = DimseAddress(
            "127.0.0.1",
            self.served.port,
            "GATEWAY",
            calling,
            tls=True,
            certificate=self.certificates[certificate] if certificate else None,
            ca=self._authority.path,
            connect_seconds=5.0,
            read_seconds=10.0,
        )
        return DimsePeer(PeerEntry("secured", dimse=address))


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    authority = Authority(tmp_path)
    own = Certificates(authority.sign(named(CN="gateway"), "gateway.pem"), None, authority.path)
    with serving(tmp_path, titles=TITLES, certificates=own, head_timeout=5.0) as served:
        yield Secured(served, authority, tmp_path)


def test_a_title_stores_with_its_own_certificate_alone(secured: Secured) -> None:
    (one,) = files(1, study="secured")
    instance = OutgoingInstance(one.entry.sop_instance_uid, len(one.data), lambda: io.BytesIO(one.data))
    secured.peer("ct1").echo()
    assert len(secured.peer("ct1").store([instance]).stored) == 1
    assert secured.served.held() == [one.entry.sop_instance_uid]
    with pytest.raises(PeerFailed):
        secured.peer("ct2").echo()


def test_a_peer_without_a_certificate_has_no_association(secured: Secured) -> None:
    with pytest.raises(Unavailable):
        secured.peer(None).echo()


def test_plain_bytes_to_a_tls_port_end_the_connection(secured: Secured) -> None:
    with RawPeer(secured.served.port) as peer:
        peer.socket.sendall(request("CT1"))
        assert peer.answer()[0] not in (2, 3)
    with socket.create_connection(("127.0.0.1", secured.served.port)):
        secured.peer("ct1").echo()  # one that says nothing keeps no other out
