"""Peers that are unknown, lie, stall or shout: refused, logged without their words, and memory stays flat."""

import logging
import struct
import tracemalloc
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.dimse.raw_peer import ABORT, CT, DATA, RELEASE, RELEASED, RawPeer, request, store_request
from tests.dimse.serving import TITLES, Serving, serving
from tests.waiting import eventually

VERIFICATION = "1.2.840.10008.1.1"
ACCEPTED, REJECTED = 2, 3
CLOSED = 0


@pytest.mark.parametrize(
    ("title", "called", "diagnostic"),
    [("STRANGER", "GATEWAY", 3), ("ELSEWHERE", "GATEWAY", 3), ("CT1", "OTHER", 7), ("ct1", "GATEWAY", 3)],
)
def test_who_is_not_known_at_this_address_is_rejected(
    served: Serving, title: str, called: str, diagnostic: int
) -> None:
    with RawPeer(served.port) as peer:  # pynetdicom, on a busy machine, takes some rejections for lost connections
        peer.socket.sendall(request(title, called, (VERIFICATION,)))
        kind, values = peer.answer()
    assert (kind, values[-1]) == (REJECTED, diagnostic)


def test_an_address_of_no_title_is_not_listened_to(folder: Path) -> None:
    nobody = '[ae.FAR]\naddress = ["192.0.2.0/24"]\ncaller = "far"\n'
    with serving(folder, titles=nobody) as running, RawPeer(running.port) as peer:
        assert peer.answer()[0] == CLOSED


def test_a_file_of_titles_that_is_broken_admits_nobody_until_it_is_mended(folder: Path) -> None:
    with serving(folder) as running:
        file = folder / "titles.toml"
        file.write_text("[ae.CT1", encoding="utf-8")
        with RawPeer(running.port) as peer:
            assert peer.answer()[0] == CLOSED
        file.write_text(TITLES, encoding="utf-8")
        association = running.associate(VERIFICATION, title="ECHO")
        assert association.is_established
        association.release()


def test_associations_are_bounded_for_each_title_and_in_all(folder: Path) -> None:
    with serving(folder, dimse_associations=3, dimse_title_associations=2) as running:
        first = [running.associate(VERIFICATION) for _ in range(2)]
        assert running.associate(VERIFICATION).is_rejected
        other = running.associate(VERIFICATION, title="ECHO")
        assert other.is_established
        assert running.associate(VERIFICATION, title="READER").is_rejected
        for association in (*first, other):
            association.release()
        assert eventually(lambda: running.associate(VERIFICATION).is_established)


def test_connections_that_ask_for_nothing_are_closed(folder: Path) -> None:
    with serving(folder, head_timeout=0.2) as running:
        with RawPeer(running.port) as peer:
            assert peer.answer()[0] == ABORT
            assert peer.answer()[0] == CLOSED
        with ExitStack() as stack:
            peers = [stack.enter_context(RawPeer(running.port)) for _ in range(6)]
            assert {peer.answer()[0] for peer in peers} <= {ABORT, CLOSED}


@pytest.mark.parametrize("kind", [1, DATA, RELEASE, 9])
def test_a_pdu_that_says_four_gigabytes_is_refused_before_its_first_byte(served: Serving, kind: int) -> None:
    with RawPeer(served.port) as peer:
        assert peer.associate() == ACCEPTED
        peer.pdu(kind, b"", length=0xFFFFFFFF)
        assert peer.answer()[0] == ABORT
        assert peer.answer()[0] == CLOSED


def test_a_request_that_says_four_gigabytes_is_refused(served: Serving) -> None:
    with RawPeer(served.port) as peer:
        peer.pdu(1, b"", length=0xFFFFFFFF)
        assert peer.answer()[0] == ABORT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(68),
        request("CT1")[6:100],
        request("CT1")[6:74] + b"\x20\x00\xff\xff",
        request("CT1")[6:74] + b"\x10\x00\x00\x02\xff\xfe" + b"\x50\x00\x00\x00",
    ],
)
def test_a_request_that_cannot_be_read_is_aborted(served: Serving, data: bytes) -> None:
    with RawPeer(served.port) as peer:
        peer.pdu(1, data)
        assert peer.answer()[0] == ABORT


def pdv(data: bytes, context: int = 1, control: int = 3, length: int | None = None) -> bytes:
    return struct.pack(">LBB", len(data) + 2 if length is None else length, context, control) + data


@pytest.mark.parametrize(
    "data",
    [
        pdv(b"x", length=0xFFFFFFF0),
        pdv(b"x", length=0),
        pdv(b"x", length=1),
        pdv(b"junk"),
        pdv(struct.pack("<HHL", 0, 0x0100, 0xFFFFFFFF)),
        pdv(store_request("1.2").encode(), context=5),
        pdv(b"x", control=2),
        pdv(bytes(20_000), control=1),
        pdv(store_request("1.2").encode()) + pdv(store_request("1.2").encode()),
    ],
)
def test_data_that_break_the_protocol_end_the_association(served: Serving, data: bytes) -> None:
    with RawPeer(served.port) as peer:
        assert peer.associate() == ACCEPTED
        peer.pdu(DATA, data)
        assert peer.answer()[0] == ABORT
        assert peer.answer()[0] == CLOSED


def test_a_release_is_answered_and_one_within_a_message_is_not(served: Serving) -> None:
    with RawPeer(served.port) as peer:
        assert peer.associate() == ACCEPTED
        peer.pdu(RELEASE, bytes(4))
        assert peer.answer()[0] == RELEASED
    with RawPeer(served.port) as peer:
        assert peer.associate() == ACCEPTED
        peer.command(store_request("1.2.3"))
        peer.pdu(RELEASE, bytes(4))
        assert peer.answer()[0] == ABORT
    assert eventually(lambda: not served.half_files)


def test_a_sender_without_haste_is_ended_and_leaves_nothing(folder: Path) -> None:
    with serving(folder, read_timeout=0.2) as running, RawPeer(running.port) as peer:
        assert peer.associate() == ACCEPTED
        peer.command(store_request("1.2.3"))
        peer.fragment(b"slow", control=0)
        assert peer.answer()[0] == ABORT
        assert eventually(lambda: not running.half_files)


def test_a_sender_that_drips_is_ended(folder: Path) -> None:
    with serving(folder, rate_grace=0.1, min_rate=1_000_000) as running, RawPeer(running.port) as peer:
        assert peer.associate() == ACCEPTED
        peer.command(store_request("1.2.3"))

        def is_ended() -> bool:
            try:
                peer.fragment(b"drip", control=0)
            except ConnectionError:
                return True
            return False

        assert eventually(is_ended)
        assert eventually(lambda: not running.half_files)


def test_an_association_that_is_silent_is_ended(folder: Path) -> None:
    with serving(folder, dimse_idle=0.1) as running, RawPeer(running.port) as peer:
        assert peer.associate() == ACCEPTED
        assert peer.answer()[0] == ABORT


def test_no_value_of_a_data_set_is_logged(served: Serving, caplog: pytest.LogCaptureFixture) -> None:
    secret = "DOE^JANE"
    with caplog.at_level(logging.DEBUG), RawPeer(served.port) as peer:
        assert peer.associate() == ACCEPTED
        peer.command(store_request("1.2.3"))
        peer.fragment(b"\x10\x00\x10\x00PN\x08\x00" + secret.encode())
        peer.status()
        peer.command(store_request(secret, sop_class=secret))
        peer.fragment(secret.encode())
        peer.status()
    with RawPeer(served.port) as peer:
        peer.pdu(1, request("CT1")[6:74] + secret.encode())
        peer.answer()
    assert secret not in caplog.text
    assert "DOE" not in caplog.text


@pytest.mark.slow
def test_memory_is_flat_while_a_large_data_set_arrives(served: Serving) -> None:
    piece = bytes(120_000)
    with RawPeer(served.port) as peer:
        assert peer.associate() == ACCEPTED
        peer.command(store_request("1.2.3"))
        peer.fragment(piece, control=0)
        tracemalloc.start()
        for _ in range(500):
            peer.fragment(piece, control=0)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
        tracemalloc.stop()


def test_a_class_of_no_service_is_no_context(served: Serving) -> None:
    printing, patient_root = "1.2.840.10008.5.1.1.9", "1.2.840.10008.5.1.4.1.2.1.1"
    association = served.associate(printing, patient_root, CT)
    assert [one.abstract_syntax for one in association.accepted_contexts] == [CT]
    association.release()
