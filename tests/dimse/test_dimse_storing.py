"""C-STORE: what is accepted is stored as it arrived, and a refusal leaves nothing."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from pynetdicom import build_context
from pynetdicom.association import Association

from gateway.dimse.commands import Command
from gateway.studies import arrival_rows, instance_rows
from gateway.studies.forgetting import forget
from tests.dimse.raw_peer import CT, EXPLICIT, RawPeer, store_request
from tests.dimse.serving import Serving, serving, store_all
from tests.studies.files import file, files
from tests.waiting import eventually

VERIFICATION = "1.2.840.10008.1.1"


def dataset(name: object, **options: object) -> Dataset:
    return dcmread(io.BytesIO(file(name, **options).data))


@pytest.fixture
def association(served: Serving) -> Association:
    found = served.associate(CT, VERIFICATION)
    assert found.is_established
    yield found
    if found.is_established:
        found.release()


def test_a_known_title_may_verify(served: Serving) -> None:
    association = served.associate(VERIFICATION, title="ECHO")
    assert association.send_c_echo().Status == 0x0000
    association.release()
    assert association.is_released


def test_instances_are_stored_for_the_caller_of_the_title(served: Serving, association: Association) -> None:
    sent = [dataset(number, study="one") for number in range(3)]
    assert store_all(association, sent) == [0, 0, 0]
    assert {one.SOPInstanceUID for one in sent} <= set(served.held())
    assert served.held("echo") == []


def test_an_instance_that_is_sent_twice_is_stored_once(served: Serving, association: Association) -> None:
    assert store_all(association, [dataset("twice"), dataset("twice")]) == [0, 0]
    assert served.held().count(dataset("twice").SOPInstanceUID) == 1


def test_another_file_of_a_stored_uid_is_a_conflict(served: Serving, association: Association) -> None:
    assert store_all(association, [dataset("other"), dataset("other", note="another")]) == [0, 0x0111]


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "image_dfl.dcm", "SC_rgb_rle.dcm", "reportsi.dcm"],
)
def test_any_storage_class_and_transfer_syntax_is_stored_as_it_is(served: Serving, name: str) -> None:
    path = get_testdata_file(name)
    original = dcmread(path)
    syntax = original.file_meta.TransferSyntaxUID
    association = served.associate(contexts=[build_context(original.SOPClassUID, syntax)])
    assert association.send_c_store(original).Status == 0
    association.release()
    with served.store.index.reading() as connection:
        held = {one.sop_instance_uid: one for one in instance_rows.held(connection, "ct1", 0.0)}
    with served.store.open_instances([held[original.SOPInstanceUID]])[0] as stored:
        again = dcmread(stored)
    assert again.file_meta.TransferSyntaxUID == syntax
    assert again == original


def test_private_and_future_classes_are_accepted(served: Serving) -> None:
    association = served.associate("1.2.826.0.1.3680043.9.9999.1", "1.2.840.10008.5.1.4.1.1.99999")
    assert len(association.accepted_contexts) == 2
    association.release()


def test_what_a_title_may_not_do_is_no_context(served: Serving) -> None:
    association = served.associate(CT, VERIFICATION, title="READER")
    assert [one.abstract_syntax for one in association.accepted_contexts] == [VERIFICATION]
    association.release()


def stored(served: Serving, sent: Dataset, sop: str, sop_class: str = CT) -> int:
    """The status of a C-STORE whose command has these UIDs."""
    buffer = io.BytesIO()
    sent.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    length = 144 + int.from_bytes(data[140:144], "little")
    with RawPeer(served.port) as peer:
        assert peer.associate() == 2
        peer.command(store_request(sop, sop_class))
        peer.fragment(data[length:])
        return peer.status()


@pytest.mark.parametrize(
    ("sop", "sop_class", "status"),
    [
        ("../../etc/passwd", CT, 0x0117),
        ("1.2.3/../../4", CT, 0x0117),
        ("", CT, 0x0117),
        (None, "1.2.840.10008.5.1.4.1.1.4", 0x0122),
        ("1.2.3.4", CT, 0xC000),
    ],
)
def test_a_command_that_lies_is_refused(served: Serving, sop: str | None, sop_class: str, status: int) -> None:
    sent = dataset("lies")
    assert stored(served, sent, sent.SOPInstanceUID if sop is None else sop, sop_class) == status
    assert sent.SOPInstanceUID not in served.held()
    assert eventually(lambda: not served.half_files)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, 0xA900),
        ({"StudyInstanceUID": "../../x"}, 0xC000),
        ({"SeriesInstanceUID": ""}, 0xC000),
        ({"PixelData": b"\0\0"}, 0),
        ({"SOPInstanceUID": "1.2.9"}, 0xC000),
    ],
)
def test_a_data_set_that_lies_is_refused(served: Serving, change: dict[str, object], status: int) -> None:
    sent = dataset(str(change))
    sop = sent.SOPInstanceUID
    for name, value in change.items():
        sent[name].validation_mode = 0
        sent[name]._value = value
    assert stored(served, sent, sop) == status
    assert (sop in served.held()) == (status == 0)


def test_bytes_that_are_no_data_set_are_refused(served: Serving) -> None:
    with RawPeer(served.port) as peer:
        assert peer.associate() == 2
        peer.command(store_request("1.2.3.4.5"))
        peer.fragment(b"\xff" * 1000)
        assert peer.status() == 0xC000
        peer.command(Command({0x0100: 0x0001, 0x0110: 2, 0x0800: 0x0101, 0x0002: CT, 0x1000: "1.2.3"}))
        assert peer.status() == 0x0211
    assert eventually(lambda: not served.half_files)


def test_a_sender_that_breaks_off_leaves_nothing(served: Serving) -> None:
    sent = dataset("half")
    with RawPeer(served.port) as peer:
        assert peer.associate() == 2
        peer.command(store_request(sent.SOPInstanceUID))
        peer.fragment(bytes(10_000), control=0)
        assert eventually(lambda: served.half_files)
    assert eventually(lambda: not served.half_files)
    assert sent.SOPInstanceUID not in served.held()


def test_a_full_store_asks_the_sender_to_come_again(folder: Path) -> None:
    with serving(folder, store_max_bytes=4_000) as small:
        association = small.associate(CT)
        assert store_all(association, [dataset(number) for number in range(3)])[-1] == 0xA700
        assert association.is_established
        association.release()
        assert not small.half_files


def test_an_instance_above_the_limit_is_refused_and_the_association_goes_on(folder: Path) -> None:
    with serving(folder, max_body_bytes=4_000) as small:
        association = small.associate(CT)
        large = dataset("large")
        large.PixelData = bytes(60_000)
        large.Rows, large.Columns = 200, 150
        assert store_all(association, [large, dataset("small")]) == [0xA700, 0]
        association.release()


def test_arrivals_tell_when_a_study_came_and_from_whom(served: Serving, association: Association) -> None:
    sent = [dataset(number, study="arriving") for number in range(3)]
    store_all(association, sent)

    def arrived() -> list[arrival_rows.Arrival]:
        with served.store.index.reading() as connection:
            return arrival_rows.of_study(connection, "ct1", sent[0].StudyInstanceUID)

    (during,) = arrived()
    assert (during.sender, during.instances, during.ended_at) == ("CT1", 3, None)
    assert during.began_at <= during.latest_at
    association.release()
    assert eventually(lambda: arrived()[0].ended_at)
    forget(served.store, sent[0].StudyInstanceUID, "ct1")
    assert arrived() == []


def test_several_associations_are_committed_together(served: Serving) -> None:
    associations = [served.associate(CT) for _ in range(4)]
    batches = [[dcmread(io.BytesIO(one.data)) for one in files(8, study=f"together {k}")] for k in range(4)]
    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(store_all, associations, batches))
    assert statuses == [[0] * 8] * 4
    for association in associations:
        association.release()
    assert {one.SOPInstanceUID for batch in batches for one in batch} <= set(served.held())


def test_the_first_transfer_syntax_is_taken_and_big_endian_last(served: Serving) -> None:
    big = "1.2.840.10008.1.2.2"
    association = served.associate(contexts=[build_context(CT, [big, EXPLICIT]), build_context(generate_uid(), [big])])
    assert {one.transfer_syntax[0] for one in association.accepted_contexts} == {EXPLICIT, big}
    association.release()
