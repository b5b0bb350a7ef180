"""C-MOVE to configured destinations, and storage commitment: requested, reported elsewhere, durable."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association

from gateway.studies import commitment_rows, instance_rows
from gateway.studies.commitment_rows import Commitment, CommitmentState
from tests.dimse.raw_peer import CT
from tests.dimse.serving import TITLES, Serving, serving, store_all
from tests.dimse.test_query_retrieve import query
from tests.ports import free_port
from tests.studies.files import files
from tests.waiting import eventually

MOVE, PUSH, WELL_KNOWN = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
PENDING, SUCCESS, CANCELLED = 0xFF00, 0x0000, 0xFE00
GATEWAY_TITLE = TITLES + '\n[ae.GATEWAY]\naddress = ["127.0.0.1"]\ncaller = "forwarded"\nmay = ["store"]\n'

# pynetdicom leaves the socket of a connection that fails to the garbage collector
DROPPED_SOCKET = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)


def peers(folder: Path, **ports: int) -> Path:
    """A file of peers at ports of this machine, by AE title."""
    path = folder / "peers.toml"
    tables = (
        f'[peers.{title.lower()}]\ndimse = {{host = "127.0.0.1", port = {port}, aet = "{title}", connect_seconds = 2}}'
        for title, port in ports.items()
    )
    path.write_text("\n".join(tables), encoding="utf-8")
    return path


class Reports:
    """A peer that receives N-EVENT-REPORTs; ``status`` is what it answers."""

    def __init__(self, status: int = 0) -> None:
        self.received: list[tuple[int, Dataset]] = []
        self.status = status

    def take(self, event: evt.Event) -> tuple[int, None]:
        self.received.append((event.event_type, event.event_information))
        return self.status, None


@contextmanager
def listening(reports: Reports, port: int) -> Iterator[None]:
    entity = AE("CT1")
    entity.add_supported_context(PUSH, scu_role=False, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, reports.take)]
    )
    yield
    server.shutdown()


def datasets(study: str, count: int = 3) -> list[Dataset]:
    return [dcmread(io.BytesIO(one.data)) for one in files(count, study=study)]


def stored(served: Serving, study: str, count: int = 3) -> list[Dataset]:
    sent = datasets(study, count)
    association = served.associate(CT)
    assert store_all(association, sent) == [0] * count
    association.release()
    return sent


def moved(served: Serving, identifier: Dataset, destination: str) -> list[Dataset]:
    association = served.associate(MOVE)
    answers = [status for status, _ in association.send_c_move(identifier, destination, MOVE)]
    association.release()
    return answers


def commit(served: Serving, instances: list[tuple[str, str]], transaction: str, instance: str = WELL_KNOWN) -> int:
    request = Dataset()
    request.TransactionUID = transaction
    items = []
    for sop_class, sop in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop
        items.append(item)
    request.ReferencedSOPSequence = items
    association: Association = served.associate(PUSH)
    status, _ = association.send_n_action(request, 1, PUSH, instance)
    association.release()
    return int(status.Status)


def test_a_study_is_moved_to_a_configured_destination(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    with serving(tmp_path / "far", titles=GATEWAY_TITLE) as far:
        with serving(tmp_path, peers=peers(tmp_path, FAR=far.port)) as near:
            far.provider.title = "FAR"
            sent = stored(near, "moved")
            answers = moved(near, query("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID), "FAR")
        assert [one.Status for one in answers] == [PENDING, PENDING, SUCCESS]
        assert answers[-1].NumberOfCompletedSuboperations == 3
        assert sorted(far.held("forwarded")) == sorted(one.SOPInstanceUID for one in sent)


def test_other_destinations_are_unknown(served: Serving) -> None:
    (answer,) = moved(served, query("STUDY", StudyInstanceUID="1.2.3"), "ANYWHERE")
    assert answer.Status == 0xA801


@DROPPED_SOCKET
@pytest.mark.usefixtures("dropped_sockets")
def test_a_destination_that_is_down_fails_all_and_names_them(tmp_path: Path) -> None:
    with serving(tmp_path, peers=peers(tmp_path, FAR=free_port())) as near:
        sent = stored(near, "down", 2)
        (answer,) = moved(near, query("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID), "FAR")
    assert (answer.Status, answer.NumberOfFailedSuboperations) == (0xA702, 2)


def test_a_commitment_tells_what_is_stored_and_what_is_not(tmp_path: Path) -> None:
    port, reports, transaction = free_port(), Reports(), generate_uid()
    with serving(tmp_path, peers=peers(tmp_path, CT1=port)) as served, listening(reports, port):
        sent = stored(served, "committed")
        pairs = [(CT, str(one.SOPInstanceUID)) for one in sent]
        wrong = ("1.2.840.10008.5.1.4.1.1.4", pairs[0][1])
        assert commit(served, [*pairs[1:], wrong, (CT, "1.2.3.4")], transaction) == 0
        assert eventually(lambda: reports.received)
        kind, report = reports.received[0]
    assert (kind, report.TransactionUID) == (2, transaction)
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [uid for _, uid in pairs[1:]]
    assert [item.FailureReason for item in report.FailedSOPSequence] == [0x0119, 0x0112]


def test_a_commitment_of_all_is_complete_and_one_of_a_spoiled_file_is_not(tmp_path: Path) -> None:
    port, reports = free_port(), Reports()
    with serving(tmp_path, peers=peers(tmp_path, CT1=port)) as served, listening(reports, port):
        sent = stored(served, "spoiled", 2)
        pairs = [(CT, str(one.SOPInstanceUID)) for one in sent]
        assert commit(served, pairs, generate_uid()) == 0
        assert eventually(lambda: reports.received)
        with served.store.index.reading() as connection:
            one = instance_rows.held(connection, "ct1", 0.0)[0]
        (served.store.folder / "instances" / one.location[:2] / one.location).write_bytes(b"spoiled")
        assert commit(served, pairs, generate_uid()) == 0
        assert eventually(lambda: len(reports.received) == 2)
    assert [kind for kind, _ in reports.received] == [1, 2]
    assert all(item.FailureReason == 0x0112 for item in reports.received[1][1].FailedSOPSequence)


@DROPPED_SOCKET
@pytest.mark.usefixtures("dropped_sockets")
def test_a_commitment_waits_for_its_peer_across_a_restart(tmp_path: Path) -> None:
    port, reports, transaction = free_port(), Reports(), generate_uid()
    with serving(tmp_path, peers=peers(tmp_path, CT1=port)) as served:
        sent = stored(served, "waiting", 1)
        assert commit(served, [(CT, sent[0].SOPInstanceUID)], transaction) == 0

        def tried() -> bool:
            with served.store.index.reading() as connection:
                return commitment_rows.pending(connection) == 1 and served.provider.metrics is not None

        assert eventually(tried)
    with serving(tmp_path, peers=tmp_path / "peers.toml") as served, listening(reports, port):
        with served.store.index.writing() as connection:
            found = Commitment("CT1", transaction, "ct1", ((CT, str(sent[0].SOPInstanceUID)),))
            commitment_rows.settle(connection, found, CommitmentState.PENDING, 0.0)  # its pause is over
        served.provider.reporter.wake()
        assert eventually(lambda: reports.received)
        assert reports.received[0][0] == 1


@pytest.mark.parametrize(
    ("instances", "instance", "status"),
    [
        ([(CT, "1.2.3")], "1.2.3", 0x0112),
        ([], WELL_KNOWN, 0x0115),
        ([(CT, "1.2.3")], WELL_KNOWN, 0x0110),
    ],
)
def test_a_request_that_cannot_be_reported_is_refused(
    served: Serving, tmp_path: Path, instances: list[tuple[str, str]], instance: str, status: int
) -> None:
    if status != 0x0115:
        assert commit(served, instances, generate_uid(), instance) == status
        return
    with serving(tmp_path, peers=peers(tmp_path, CT1=free_port())) as reaching:
        assert commit(reaching, instances, generate_uid(), instance) == status


def test_a_lease_is_taken_by_one_process_alone(served: Serving) -> None:
    found = Commitment("CT9", generate_uid(), "ct9", ((CT, "1.2"),))
    leased: list[Commitment | None] = []

    def lease() -> None:
        with served.store.index.writing() as connection:
            leased.append(commitment_rows.lease(connection, 1.0, 10.0))

    with served.store.index.writing() as connection:
        commitment_rows.request(connection, found, 0.5)
        commitment_rows.settle(connection, found, CommitmentState.ABANDONED, 0.0)
        commitment_rows.request(connection, found, 0.5)
        first = commitment_rows.lease(connection, 1.0, 1e12)
    threads = [threading.Thread(target=lease) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert first is not None
    assert leased == [None] * 3
