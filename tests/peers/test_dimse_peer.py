"""A peer over the DICOM network: the gateway's own server, and one that refuses."""

import io
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt

from gateway.errors import Cancelled, LimitExceeded, PeerFailed, StudyNotFound, Unavailable
from gateway.peers.dimse_peer import DimsePeer
from gateway.peers.peer import FetchLimits, FetchTarget, OutgoingInstance, PeerQuery, SendReport
from gateway.peers.peer_entries import DimseAddress, PeerEntry
from tests.dimse.serving import Serving, serving
from tests.ports import free_port
from tests.studies.files import File, files
from tests.waiting import PATIENCE

CT, IMPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2"
LIMITS = FetchLimits(max_bytes=1 << 30, max_instances=100)

# pynetdicom leaves the socket of a connection that fails to the garbage collector
DROPPED_SOCKET = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("peer"), dicomweb=True) as running:
        yield running


def peer(port: int, calling: str = "CT1", aet: str = "GATEWAY") -> DimsePeer:
    address = DimseAddress("127.0.0.1", port, aet, calling, connect_seconds=60.0, read_seconds=60.0)
    return DimsePeer(PeerEntry("pacs", dimse=address))


def outgoing(some: list[File]) -> list[OutgoingInstance]:
    return [
        OutgoingInstance(one.entry.sop_instance_uid, len(one.data), lambda one=one: io.BytesIO(one.data))
        for one in some
    ]


class Sink:
    """Collects instances."""

    def __init__(self) -> None:
        self.files: list[bytes] = []

    def begin_part(self, media_type: str) -> None:
        assert media_type == "application/dicom"
        self.files.append(b"")

    def write(self, data: bytes) -> None:
        self.files[-1] += bytes(data)

    def end(self) -> None:
        pass


@DROPPED_SOCKET
@pytest.mark.usefixtures("dropped_sockets")
def test_a_peer_that_knows_the_gateway_is_verified(served: Serving) -> None:
    peer(served.port).echo()
    with pytest.raises(PeerFailed):
        peer(served.port, "STRANGER").echo()
    with pytest.raises(PeerFailed):
        peer(served.port, aet="OTHER").echo()
    with pytest.raises(Unavailable):
        peer(free_port()).echo()


def test_instances_are_stored_found_and_fetched(served: Serving) -> None:
    sent = files(3, study="there and back")
    report = peer(served.port).store(outgoing(sent))
    assert [one.sop_instance_uid for one in report.stored] == [one.entry.sop_instance_uid for one in sent]
    assert report.refused == []
    study = sent[0].entry.study_instance_uid
    matches = list(peer(served.port).find(PeerQuery(filters={"StudyInstanceUID": study}, fields=("PatientName",))))
    assert [match["0020000D"]["Value"] for match in matches] == [[study]]
    assert matches[0]["00100010"]["Value"][0]["Alphabetic"]
    sink = Sink()
    assert peer(served.port).fetch(FetchTarget(study), sink, LIMITS) == 3
    fetched = {str(one.SOPInstanceUID): one for one in (dcmread(io.BytesIO(data)) for data in sink.files)}
    originals = [dcmread(io.BytesIO(one.data)) for one in sent]
    assert all(fetched[str(one.SOPInstanceUID)] == one for one in originals)
    one = sent[1].entry
    target = FetchTarget(study, one.series_instance_uid, one.sop_instance_uid)
    assert peer(served.port).fetch(target, single := Sink(), LIMITS) == 1
    assert dcmread(io.BytesIO(single.files[0])).SOPInstanceUID == one.sop_instance_uid


def test_instances_of_a_study_are_searched_in_each_of_its_series(served: Serving) -> None:
    sent = [*files(2, study="series", series="one"), *files(2, study="series", series="two")]
    peer(served.port).store(outgoing(sent))
    uids = {one.entry.sop_instance_uid for one in sent}
    query = PeerQuery("instance", sent[0].entry.study_instance_uid)
    assert {match["00080018"]["Value"][0] for match in peer(served.port).find(query)} == uids
    assert len(list(peer(served.port).find(replace(query, limit=3)))) == 3


def test_what_is_missing_or_too_much_is_refused(served: Serving) -> None:
    with pytest.raises(StudyNotFound):
        peer(served.port).fetch(FetchTarget("1.2.3"), Sink(), LIMITS)
    sent = files(3, study="too much")
    peer(served.port).store(outgoing(sent))
    study = FetchTarget(sent[0].entry.study_instance_uid)
    with pytest.raises(LimitExceeded):
        peer(served.port).fetch(study, Sink(), FetchLimits(max_bytes=1 << 30, max_instances=2))
    with pytest.raises(LimitExceeded):
        peer(served.port).fetch(study, Sink(), FetchLimits(max_bytes=1_000, max_instances=10))


def test_an_operation_ends_when_its_check_raises(served: Serving) -> None:
    def check() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        peer(served.port).store(outgoing(files(2, study="cancelled")), check)


def test_a_conflict_and_a_file_that_is_none_are_told_apart_from_what_is_stored(served: Serving) -> None:
    first, other = files(1, study="conflict"), files(1, study="conflict", note="another")
    broken = OutgoingInstance("1.2.3", 5, lambda: io.BytesIO(b"broken"))
    report = peer(served.port).store([*outgoing(first), broken])
    assert [one.sop_instance_uid for one in report.stored] == [first[0].entry.sop_instance_uid]
    assert [(one.sop_instance_uid, one.reason) for one in report.refused] == [("1.2.3", 0xC000)]
    assert [one.reason for one in peer(served.port).store(outgoing(other)).refused] == [0x0111]


@contextmanager
def accepting(sop_class: str, syntax: str, stored: list[Dataset]) -> Iterator[int]:
    """Run an SCP of pynetdicom that accepts one class in one transfer syntax; yields its port."""

    def store(event: evt.Event) -> int:
        stored.append(event.dataset)
        return 0

    entity = AE("PACS")
    entity.add_supported_context(sop_class, syntax)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()


def test_a_peer_of_the_default_transfer_syntax_alone_gets_the_same_data_set() -> None:
    sent, stored = files(2), list[Dataset]()
    with accepting(CT, IMPLICIT, stored) as port:
        assert len(peer(port, aet="PACS").store(outgoing(sent)).stored) == 2
    assert stored == [dcmread(io.BytesIO(one.data)) for one in sent]
    assert {dataset.original_encoding for dataset in stored} == {(True, True)}


def test_what_the_peer_does_not_accept_is_refused_by_instance() -> None:
    with accepting("1.2.840.10008.5.1.4.1.1.4", IMPLICIT, []) as port:
        assert [one.reason for one in peer(port, aet="PACS").store(outgoing(files(2))).refused] == [0x0122, 0x0122]
        with pytest.raises(PeerFailed) as failure:
            peer(port, aet="PACS").echo()
        assert failure.value.outcome == "not-offered"


@pytest.mark.parametrize(("result", "error"), [(1, PeerFailed), (2, Unavailable)])
def test_a_rejection_is_no_lost_connection(result: int, error: type[Exception]) -> None:
    class Rejecting(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            _, length = struct.unpack(">BxL", self.request.recv(6, socket.MSG_WAITALL))
            self.request.recv(length, socket.MSG_WAITALL)
            self.request.sendall(struct.pack(">BxLxBBB", 3, 4, result, 1, 3))  # PS3.8 9.3.4

    with socketserver.TCPServer(("127.0.0.1", 0), Rejecting) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        try:
            for _ in range(10):  # on a busy machine the requestor sees a closed connection now and then
                with pytest.raises(error) as failure:
                    peer(server.server_address[1]).echo()
                assert "rejected" in str(getattr(failure.value, "private", ""))
        finally:
            server.shutdown()
            thread.join()


def test_an_association_that_ends_between_two_instances_is_lost_and_the_first_is_reported() -> None:
    entity, over = AE("PACS"), threading.Event()
    entity.add_supported_context(CT, "1.2.840.10008.1.2.1")
    handlers = [
        (evt.EVT_C_STORE, lambda _event: 0),
        (evt.EVT_DIMSE_SENT, lambda event: threading.Timer(0.1, event.assoc.abort).start()),
    ]
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[*handlers, (evt.EVT_CONN_CLOSE, lambda _event: over.set())]
    )
    report, sent = SendReport(), outgoing(files(2))

    def check() -> None:
        if report.stored:
            assert over.wait(PATIENCE)
            time.sleep(0.2)  # until the requestor has seen it, too

    try:
        with pytest.raises(Unavailable):
            peer(server.socket.getsockname()[1], aet="PACS").store(sent, check, report)
    finally:
        server.shutdown()
    assert [one.sop_instance_uid for one in report.stored] == [sent[0].sop_instance_uid]


def test_the_server_reads_the_file_of_the_store(served: Serving, tmp_path: Path) -> None:
    path = tmp_path / "one.dcm"
    (one,) = files(1, study="from a file")
    path.write_bytes(one.data)
    instance = OutgoingInstance(one.entry.sop_instance_uid, len(one.data), lambda: path.open("rb"))
    assert len(peer(served.port).store([instance]).stored) == 1
    assert one.entry.sop_instance_uid in served.held()
