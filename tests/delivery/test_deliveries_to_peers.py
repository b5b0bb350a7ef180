"""Deliveries to peers: durable, repeated by instance, final where another try is of no use, one destination beside
another; over DICOMweb and the DICOM network.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom import AE, evt

from gateway import Settings
from gateway.studies import delivery_rows
from tests.delivery.peers import Outbox, archive
from tests.dimse.serving import serving
from tests.ports import free_port
from tests.studies.conftest import blobs
from tests.studies.files import File, files
from tests.waiting import eventually

LEASE = Settings().run_lease
STORED = "delivered", "stored"
CT, SEG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"
EXPLICIT = "1.2.840.10008.1.2.1"
DIMSE = 'dimse = {{host = "127.0.0.1", port = {}, aet = "{}", calling = "{}"}}'


@pytest.fixture
def database_url() -> str:
    """SQLite: the rows are tested on both."""
    return ""


def uid(one: File) -> str:
    return one.entry.sop_instance_uid


def test_what_is_queued_arrives_byte_by_byte_and_no_uid_is_logged(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="gateway")
    sent = files(3)
    with archive(sent) as pacs:
        outbox.open({"pacs": pacs.entry})
        id = outbox.queue(sent)
        eventually(lambda: outbox.brief(id) == ("delivered", 1, "stored"))
        assert sorted(pacs.stored) == sorted(map(uid, sent))
        outbox.queue(sent)  # the same result
        outbox.pass_time(10_000)
    eventually(lambda: outbox.counted == [("pacs", "delivered")])
    assert len(pacs.sent) == 1
    assert "delivery delivered" in caplog.text
    assert sent[0].entry.study_instance_uid not in caplog.text
    assert uid(sent[0]) not in caplog.text


def test_only_what_failed_is_sent_again_and_what_is_final_dies_at_once(outbox: Outbox) -> None:
    full, unsupported, present, stored = sent = files(4)
    with archive(sent) as pacs:
        pacs.reasons |= {uid(full): deque([0xA700]), uid(unsupported): deque([0x0122]), uid(present): deque([0xB00E])}
        outbox.open({"pacs": pacs.entry})
        id = outbox.queue(sent)
        eventually(lambda: outbox.brief(id) == ("pending", 1, "refused-A700"))
        states = [
            ("pending", "refused-A700"),
            ("dead", "refused-0122"),
            ("delivered", "present"),
            ("delivered", "stored"),
        ]
        assert outbox.outcomes(id, sent) == states
        outbox.pass_time(7)
        eventually(lambda: outbox.brief(id) == ("dead", 2, "refused-0122"))
        with outbox.store.index.writing() as connection:
            delivery_rows.revive(connection, [id], outbox.clock())
        outbox.wake()
        eventually(lambda: outbox.brief(id) == ("delivered", 1, "stored"))
        assert [sorted(each) for each in pacs.sent] == [sorted(map(uid, sent)), [uid(full)], [uid(unsupported)]]
    assert outbox.counted == [("pacs", "retried"), ("pacs", "dead"), ("pacs", "delivered")]


def test_a_request_that_is_refused_as_a_whole_is_taken_apart(outbox: Outbox) -> None:
    sent = files(3)
    with archive(sent) as pacs:
        pacs.largest = 2 * len(sent[0].data)
        outbox.open({"pacs": pacs.entry})
        id = outbox.queue(sent)
        eventually(lambda: outbox.brief(id) == ("delivered", 1, "stored"))
        assert [len(each) for each in pacs.sent] == [3, 1, 1, 1]
        pacs.largest = 100
        other = files(2, study="too large")
        pacs.files += other
        id = outbox.queue(other)
        eventually(lambda: outbox.brief(id) == ("dead", 1, "status-413"))


@pytest.mark.parametrize(
    ("status", "outcome"), [(409, "not-named"), (503, "unavailable"), (401, "status-401"), (500, "status-500")]
)
def test_an_answer_that_may_change_is_waited_for(outbox: Outbox, status: int, outcome: str) -> None:
    sent = files(1)
    with archive(sent) as pacs:
        pacs.statuses.append(status)
        outbox.open({"pacs": pacs.entry})
        id = outbox.queue(sent)
        eventually(lambda: outbox.brief(id) == ("pending", 1, outcome))
        outbox.pass_time(60)
        eventually(lambda: outbox.brief(id) == ("delivered", 2, "stored"))


def test_an_instance_that_failed_and_is_there_counts_as_delivered(outbox: Outbox) -> None:
    there, missing = sent = files(2)
    with archive(sent) as pacs:
        pacs.reasons |= {uid(one): deque([0x0110]) for one in sent}
        pacs.has.add(uid(there))
        outbox.open({"pacs": pacs.entry})
        id = outbox.queue(sent)
        eventually(lambda: outbox.brief(id) == ("pending", 1, "refused-0110"))
        assert outbox.outcomes(id, sent) == [("delivered", "present"), ("pending", "refused-0110")]
        outbox.pass_time(7)
        eventually(lambda: outbox.brief(id)[0] == "delivered")
        assert pacs.stored == [uid(missing)]


def test_a_destination_that_is_away_delays_no_other_and_gets_all_once_it_is_back(outbox: Outbox) -> None:
    sent = [files(1, study=f"study {number}") for number in range(4)]
    flat = [one for some in sent for one in some]
    port = free_port()
    with archive(flat) as pacs:
        outbox.open({"pacs": pacs.entry, "away": f'dicomweb = "http://127.0.0.1:{port}"'})
        away = [outbox.queue(some, "away") for some in sent]
        here = [outbox.queue(some, stored=False) for some in sent]
        eventually(lambda: {outbox.brief(id)[0] for id in here} == {"delivered"})
        eventually(lambda: {outbox.brief(id) for id in away} == {("pending", 1, "unavailable")})
        numbers = outbox.opened[0][0].numbers()
        assert (numbers["away"].pending, numbers["pacs"].pending) == (4, 0)
        outbox.pass_time(40)
        eventually(lambda: {outbox.brief(id) for id in away} == {("pending", 2, "unavailable")})
        outbox.close()
        outbox.opened.clear()
        outbox.open({"pacs": pacs.entry, "away": pacs.entry})
        first = min(outbox.get(id).next_at for id in away)
        outbox.pass_time(first - outbox.clock())  # of one alone
        eventually(lambda: {outbox.brief(id)[0] for id in away} == {"delivered"})


def test_a_slow_destination_delays_its_own_alone(outbox: Outbox) -> None:
    slow, quick = files(1, study="slow"), files(1, study="quick")
    gate = threading.Event()
    with archive(slow) as first, archive(quick) as second:
        first.before = lambda: bool(gate.wait(30)) and None
        outbox.open({"slow": first.entry, "quick": second.entry})
        waiting = outbox.queue(slow, "slow")
        eventually(lambda: len(first.sent) == 1)
        id = outbox.queue(quick, "quick")
        eventually(lambda: outbox.brief(id)[0] == "delivered")
        outbox.clock.now += LEASE / 2  # its lease is renewed meanwhile
        outbox.wake()
        eventually(lambda: outbox.get(waiting).next_at == outbox.clock() + LEASE)
        gate.set()
        eventually(lambda: outbox.brief(waiting)[0] == "delivered")


def test_a_try_that_nobody_finished_is_sent_again_and_one_whose_lease_ended_says_nothing(outbox: Outbox) -> None:
    sent = files(2)
    with archive(sent) as pacs:
        id = outbox.queue(sent)
        with outbox.store.index.writing() as connection:  # a process that sent all, and was killed before it settled
            lost = delivery_rows.claim(connection, outbox.clock(), LEASE, ())
        assert lost is not None
        pacs.reasons |= {uid(one): deque([0x0111]) for one in sent}
        outbox.open({"pacs": pacs.entry})
        outbox.pass_time(LEASE)
        eventually(lambda: outbox.brief(id) == ("delivered", 2, "stored"))
        assert {outcome for _, outcome in outbox.outcomes(id, sent)} == {"present"}


def test_a_delivery_is_dead_after_its_last_try_and_where_there_is_no_such_peer(outbox: Outbox) -> None:
    sent = files(1)
    with archive(sent) as pacs:
        pacs.statuses += [500, 500]
        outbox.open({"pacs": pacs.entry}, delivery_tries=2, delivery_longest_pause=60.0)
        id = outbox.queue(sent)
        eventually(lambda: outbox.brief(id) == ("pending", 1, "status-500"))
        outbox.pass_time(60)
        eventually(lambda: outbox.brief(id) == ("dead", 2, "status-500"))
        id = outbox.queue(sent, "elsewhere", stored=False)
        eventually(lambda: outbox.brief(id) == ("dead", 1, "no-such-peer"))
        numbers = outbox.opened[0][0].numbers()
        assert {name: each.dead for name, each in numbers.items()} == {"pacs": 1, "elsewhere": 1}
        with outbox.store.index.writing() as connection:  # as after the ends of so many processes
            delivery_rows.revive(connection, [id], outbox.clock())
            connection.exec_driver_sql("UPDATE deliveries SET tries = 2, destination = 'pacs' WHERE state = 'pending'")
        outbox.wake()
        eventually(lambda: outbox.brief(id) == ("dead", 3, "unfinished"))


def test_a_stored_file_that_has_changed_is_not_sent(outbox: Outbox) -> None:
    sent = files(2)
    with archive(sent) as pacs:
        id = outbox.queue(sent)
        path = next(path for path in blobs(outbox.store) if path.read_bytes() == sent[0].data)
        path.write_bytes(sent[0].data[:-1] + b"?")
        outbox.open({"pacs": pacs.entry})
        eventually(lambda: outbox.brief(id) == ("pending", 1, "instance-gone"))
        outbox.pass_time(7)
        eventually(lambda: outbox.brief(id)[0] == "dead")
        assert uid(sent[0]) not in pacs.stored


def test_a_process_that_stops_gives_its_delivery_back(outbox: Outbox) -> None:
    sent = files(2)
    with archive(sent) as pacs:
        pacs.statuses.append(413)  # so that the try goes on, one by one
        stopping = threading.Thread(target=outbox.close)
        pacs.before = lambda: None if stopping.ident else stopping.start()
        outbox.open({"pacs": pacs.entry})
        id = outbox.queue(sent)
        eventually(lambda: len(pacs.sent) == 1 and not stopping.is_alive())
        assert outbox.brief(id) == ("pending", 0, "")
        outbox.opened.clear()
        outbox.open({"pacs": pacs.entry})
        eventually(lambda: outbox.brief(id) == ("delivered", 1, "stored"))


def test_credentials_are_sent_and_a_token_may_rotate(outbox: Outbox) -> None:
    sent = files(1)
    token = outbox.folder / "token"
    token.write_text("first")
    token.chmod(0o600)
    with archive(sent) as pacs:
        pacs.statuses.append(401)
        outbox.open(
            {
                "pacs": f'{pacs.entry}\ntoken_file = "token"',
                "basic": f'{pacs.entry}\nuser = "u"\npassword_file = "token"',
            }
        )
        id = outbox.queue(sent)
        eventually(lambda: outbox.brief(id) == ("pending", 1, "status-401"))
        token.write_text("second")
        outbox.pass_time(7)
        eventually(lambda: outbox.brief(id)[0] == "delivered")
        id = outbox.queue(sent, "basic", stored=False)
        eventually(lambda: outbox.brief(id)[0] == "delivered")
    assert [each["Authorization"] for each in pacs.headers] == ["Bearer first", "Bearer second", "Basic dTpzZWNvbmQ="]


@contextmanager
def storing(answer: Callable[[str], int], *classes: str) -> Iterator[int]:
    """Run an SCP of pynetdicom that accepts classes, and answers each instance by its UID; yields its port."""
    entity = AE("PACS")
    for one in classes:
        entity.add_supported_context(one, EXPLICIT)
    handlers = [(evt.EVT_C_STORE, lambda event: answer(str(event.request.AffectedSOPInstanceUID)))]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()


def test_a_c_store_is_taken_apart_by_instance(outbox: Outbox) -> None:
    full, broken, warned, stored = sent = files(4)
    answers = {uid(full): deque([0xA700]), uid(broken): deque([0xC000]), uid(warned): deque([0xB000])}
    seen: list[str] = []

    def answer(sop: str) -> int:
        seen.append(sop)
        return answers[sop].popleft() if answers.get(sop) else 0

    with storing(answer, CT) as port:
        outbox.open({"pacs": DIMSE.format(port, "PACS", "GATEWAY")})
        id = outbox.queue(sent)
        eventually(lambda: outbox.brief(id) == ("pending", 1, "refused-A700"))
        states = [
            ("pending", "refused-A700"),
            ("dead", "refused-C000"),
            ("delivered", "stored"),
            ("delivered", "stored"),
        ]
        assert outbox.outcomes(id, sent) == states
        outbox.pass_time(7)
        eventually(lambda: outbox.brief(id)[:2] == ("dead", 2))
    assert sorted(seen) == sorted([*map(uid, sent), uid(full)])


def test_a_class_that_the_peer_does_not_accept_dies_at_once(outbox: Outbox) -> None:
    sent = files(2)
    with storing(lambda _sop: 0, SEG) as port:
        outbox.open({"pacs": DIMSE.format(port, "PACS", "GATEWAY")})
        id = outbox.queue(sent)
        eventually(lambda: outbox.brief(id) == ("dead", 1, "refused-0122"))


def test_another_gateway_has_what_is_delivered_by_the_dicom_network(outbox: Outbox, tmp_path: Path) -> None:
    sent = files(3)
    (tmp_path / "other").mkdir()
    with serving(tmp_path / "other") as running:
        outbox.open(
            {
                "pacs": DIMSE.format(running.port, "GATEWAY", "CT1"),
                "stranger": DIMSE.format(running.port, "GATEWAY", "OTHER"),
            }
        )
        refused = outbox.queue(sent, "stranger")
        id = outbox.queue(sent, stored=False)
        eventually(lambda: outbox.brief(id) == ("delivered", 1, "stored"))
        assert sorted(running.held()) == sorted(map(uid, sent))
        eventually(lambda: outbox.brief(refused) == ("pending", 1, "rejected"))
        with outbox.store.index.writing() as connection:  # a process was killed after it sent, and before it settled
            connection.exec_driver_sql("UPDATE deliveries SET state = 'pending', leased = TRUE WHERE ended_at > 0")
            connection.exec_driver_sql("UPDATE delivery_instances SET state = 'pending'")
        outbox.pass_time(LEASE)
        eventually(lambda: outbox.brief(id) == ("delivered", 2, "stored"))
        assert len(running.held()) == 3


def test_a_connection_that_breaks_keeps_what_was_stored(outbox: Outbox) -> None:
    sent = files(3)
    seen: list[str] = []

    def answer(event: evt.Event) -> int:
        seen.append(str(event.request.AffectedSOPInstanceUID))
        if len(seen) == 2:
            event.assoc.abort()
        return 0

    entity = AE("PACS")
    entity.add_supported_context(CT, EXPLICIT)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    try:
        outbox.open({"pacs": DIMSE.format(server.socket.getsockname()[1], "PACS", "GATEWAY")})
        id = outbox.queue(sent)
        eventually(lambda: outbox.brief(id) == ("pending", 1, "unavailable"))
        assert sorted(state for state, _ in outbox.outcomes(id, sent)) == ["delivered", "pending", "pending"]
        outbox.pass_time(40)
        eventually(lambda: outbox.brief(id)[:2] == ("delivered", 2))
    finally:
        server.shutdown()
    assert len(seen) == 4
