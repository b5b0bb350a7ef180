"""The DICOMweb client of peers: what it asks, what it takes, and what it refuses of a peer that lies."""

import base64
import io
import itertools
import json
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Cancelled, GatewayError, LimitExceeded, PeerFailed, StudyNotFound, Unavailable
from gateway.peers import web_connection, web_search, web_store
from gateway.peers.peer import (
    STUDY_UID,
    FetchLimits,
    FetchTarget,
    OutgoingInstance,
    PeerQuery,
    RefusedInstance,
    SentInstance,
)
from gateway.peers.peer_entries import PeerEntry, WebAddress
from gateway.peers.web_peer import WebPeer
from gateway.wire import Data, EndOfPart, decode, parse_options_header
from tests.access.certificates import Authority, named
from tests.delivery.receivers import receiving
from tests.house.pages import ROOT, rows
from tests.peers.scripted import JSON, RELATED, Asked, Taken, response, scripted, study, web_peer

LIMITS = FetchLimits(1 << 20, 10)
STUDY = FetchTarget("1.2.3")


def match(uid: str) -> dict[str, Any]:
    return {STUDY_UID: {"vr": "UI", "Value": [uid]}}


def matches(*uids: str) -> list[bytes]:
    return response(200, json.dumps([match(uid) for uid in uids]).encode())


def outgoing(uid: str, data: bytes) -> OutgoingInstance:
    return OutgoingInstance(uid, len(data), lambda: io.BytesIO(data))


def test_a_study_is_fetched_as_it_is_stored(tmp_path: Path) -> None:
    files, sink = [b"first" * 1000, b"", b"\r\n--b0undarX"], Taken()
    with web_peer(lambda _: response(200, study(*files), RELATED)) as (peer, running):
        assert peer.fetch(STUDY, sink, LIMITS) == 3
    assert sink.files == files
    assert sink.ended == 3
    (asked,) = running.asked
    assert asked.target == "/dicom-web/studies/1.2.3"
    assert asked.headers["Accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'
    assert asked.headers["Accept-Encoding"] == "identity"


def test_a_target_is_a_path_and_no_text_of_it_leaves_the_path() -> None:
    with web_peer(lambda _: response(404)) as (peer, running):
        for target in (FetchTarget("1", "2"), FetchTarget("1", "2", "3"), FetchTarget("../x?y#z")):
            with pytest.raises(StudyNotFound):
                peer.fetch(target, Taken(), LIMITS)
    prefix = "/dicom-web/studies/"
    assert [asked.target for asked in running.asked] == [
        f"{prefix}1/series/2",
        f"{prefix}1/series/2/instances/3",
        f"{prefix}..%2Fx%3Fy%23z",
    ]


def endless(asked: Asked) -> Iterator[bytes]:
    yield f"HTTP/1.1 200 OK\r\nContent-Type: {RELATED}\r\n\r\n".encode()
    yield study(b"a")[: -len("\r\n--b0undary--\r\n")]
    while True:
        yield bytes(65536)


def lying_length(asked: Asked) -> Iterable[bytes]:
    body = study(b"a" * 100)
    return [b"".join(response(200, body, RELATED))[:-50]]


def cut(asked: Asked) -> Iterable[bytes]:
    return response(200, study(b"a" * 100)[:-8], RELATED)


def lying_part(asked: Asked) -> Iterable[bytes]:
    return response(200, study(b"abc").replace(b"Content-Length: 3", b"Content-Length: 2"), RELATED)


HOSTILE: list[tuple[Any, type[GatewayError]]] = [
    (endless, LimitExceeded),
    (lambda _: response(200, study(*[b"a"] * 11), RELATED), LimitExceeded),
    (lying_length, Unavailable),
    (cut, PeerFailed),
    (lying_part, PeerFailed),
    (lambda _: response(200, b"<html>", "text/html"), PeerFailed),
    (lambda _: response(200, b"", "multipart/related; boundary=\xff"), PeerFailed),
    (lambda _: response(200, b"", RELATED), PeerFailed),
    (lambda _: response(200, study(b"a"), RELATED, Content_Encoding="gzip"), PeerFailed),
    (lambda _: response(206, study(b"a"), RELATED), PeerFailed),
    (lambda _: response(302, b"", Location="http://127.0.0.1:1/"), PeerFailed),
    (lambda _: response(401), PeerFailed),
    (lambda _: response(403), PeerFailed),
    (lambda _: response(404), StudyNotFound),
    (lambda _: response(406), PeerFailed),
    (lambda _: response(500, b"PatientName=DOE^JOHN"), PeerFailed),
    (lambda _: [b"SSH-2.0-OpenSSH\r\n"], Unavailable),
    (lambda _: [], Unavailable),
    (lambda _: [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000], Unavailable),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_peer_that_answers_what_it_should_not_is_refused_in_words(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, error = HOSTILE[number]
    monkeypatch.setattr(web_connection, "TRIES", 0)
    with web_peer(answer) as (peer, _), pytest.raises(error) as caught:
        peer.fetch(STUDY, Taken(), LIMITS)
    assert "DOE" not in caught.value.detail + caught.value.private
    assert len(caught.value.detail) > 20


def test_credentials_are_sent_to_the_one_host_alone(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t0ken\n")
    with web_peer(lambda _: response(204)) as (other, elsewhere):
        location = f"http://127.0.0.1:{elsewhere.port}/"
        with web_peer(lambda _: response(307, b"", Location=location), token_file=file) as (peer, running):
            with pytest.raises(PeerFailed):
                peer.echo()
            file.write_text("an0ther")
            with pytest.raises(PeerFailed):
                list(peer.find(PeerQuery()))
        other.echo()
    assert [asked.headers["Authorization"] for asked in running.asked] == ["Bearer t0ken", "Bearer an0ther"]
    (only,) = elsewhere.asked
    assert "Authorization" not in only.headers


def test_basic_credentials_are_those_of_rfc_7617() -> None:
    with web_peer(lambda _: response(204), user="me", password="a:b") as (peer, running):
        peer.echo()
    scheme, text = running.asked[0].headers["Authorization"].split()
    assert (scheme, base64.b64decode(text)) == ("Basic", b"me:a:b")


def test_a_secret_that_is_gone_stops_the_request(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with web_peer(lambda _: response(204), token_file=gone) as (peer, running), pytest.raises(Unavailable):
        peer.echo()
    assert running.asked == []


def test_an_answer_that_is_refused_uses_up_no_connection() -> None:
    with web_peer(lambda _: response(401)) as (peer, running):
        for _ in range(6):
            with pytest.raises(PeerFailed):
                peer.echo()
            with pytest.raises(PeerFailed):
                peer.store([outgoing("1.1", b"a")])
    assert len(running.asked) == 12


def test_a_search_turns_pages_until_one_brings_nothing_new() -> None:
    pages = iter([matches("1", "2"), matches("2", "3"), response(204)])
    with web_peer(lambda _: next(pages)) as (peer, running):
        query = PeerQuery("study", filters={"PatientName": "DOE^J*"}, fields=["StudyDescription"])
        found = [web_search.first(each, STUDY_UID) for each in peer.find(query)]
    assert found == ["1", "2", "3"]
    first, second, third = (asked.target for asked in running.asked)
    assert first == "/dicom-web/studies?PatientName=DOE%5EJ%2A&includefield=StudyDescription&limit=500"
    assert second == f"{first}&offset=2"
    assert third == f"{first}&offset=4"


def test_a_peer_that_repeats_one_page_for_ever_ends_the_search() -> None:
    with web_peer(lambda _: matches("1", "2")) as (peer, running):
        assert len(list(peer.find(PeerQuery()))) == 2
        assert len(list(peer.find(PeerQuery(limit=1)))) == 1
    assert len(running.asked) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"{}",
        b"[1]",
        b'[{"0020000D": 1}]',
        b"[{}]",
        b"[" + b"0," * 3_000_000 + b"0]",
        b"\xff",
        b'[{"0020000D": NaN}]',
        b"[",
    ],
    ids=range(9),
)
def test_matches_that_are_none_are_refused(body: bytes) -> None:
    with web_peer(lambda _: response(200, body)) as (peer, _), pytest.raises(PeerFailed):
        list(peer.find(PeerQuery()))


def test_an_endless_answer_to_a_search_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_connection, "MAX_JSON_BYTES", 1 << 20)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n\r\n["
    pieces = itertools.chain([head], itertools.repeat(b" " * 65536))
    with web_peer(lambda _: pieces) as (peer, _), pytest.raises(PeerFailed):
        list(peer.find(PeerQuery()))


def test_a_busy_peer_is_asked_again_and_its_pause_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([response(503, Retry_After="0"), matches("1"), response(204)])
    with web_peer(lambda _: next(answers)) as (peer, running):
        assert len(list(peer.find(PeerQuery()))) == 1
    assert len(running.asked) == 3
    monkeypatch.setattr(web_connection, "LONGEST_PAUSE", 0)
    with web_peer(lambda _: response(503, Retry_After="77")) as (peer, running), pytest.raises(Unavailable) as caught:
        peer.echo()
    assert caught.value.retry_after == 77
    assert len(running.asked) == 1 + web_connection.TRIES


def test_a_peer_that_is_away_or_silent_is_unavailable() -> None:
    away = WebPeer(PeerEntry("pacs", web=WebAddress("http://127.0.0.1:9/", connect_seconds=0.2)))
    with pytest.raises(Unavailable):
        away.echo()
    over = threading.Event()

    def silent(_: Asked) -> Iterator[bytes]:
        over.wait(20)
        yield b""

    with web_peer(silent, read_seconds=0.1) as (peer, _), pytest.raises(Unavailable):
        peer.echo()
    over.set()


def test_a_fetch_ends_when_its_check_raises() -> None:
    began = time.monotonic()

    def check() -> None:
        if time.monotonic() > began + 0.1:
            raise Cancelled

    def dripping(_: Asked) -> Iterator[bytes]:
        yield f"HTTP/1.1 200 OK\r\nContent-Type: {RELATED}\r\n\r\n".encode() + study(b"a")[:-10]
        while True:
            yield b"a"
            time.sleep(0.01)

    with web_peer(dripping) as (peer, _), pytest.raises(Cancelled):
        peer.fetch(STUDY, Taken(), LIMITS, check)


def report(stored: dict[str, int | None], failed: dict[str, int]) -> bytes:
    def item(uid: str, tag: str, reason: int | None) -> dict[str, Any]:
        number = {} if reason is None else {tag: {"vr": "US", "Value": [reason]}}
        return {"00081155": {"vr": "UI", "Value": [uid]}, **number}

    answer = {
        "00081199": {"vr": "SQ", "Value": [item(uid, "00081196", reason) for uid, reason in stored.items()]},
        "00081198": {"vr": "SQ", "Value": [item(uid, "00081197", reason) for uid, reason in failed.items()]},
    }
    return json.dumps(answer).encode()


def parts(asked: Asked) -> list[bytes]:
    found = []
    boundary = parse_options_header(asked.headers["Content-Type"])[1]["boundary"]
    part = b""
    for event in decode(boundary, [asked.body]):
        if isinstance(event, Data):
            part += bytes(event.data)
        elif isinstance(event, EndOfPart):
            found.append(part)
            part = b""
    return found


def test_files_are_stored_and_the_answer_is_taken_apart_by_instance() -> None:
    answer = response(202, report({"1.1": None, "1.2": 45056, "9.9": None}, {"1.3": 272}))
    with web_peer(lambda _: answer) as (peer, running):
        found = peer.store([outgoing(uid, uid.encode() * 1000) for uid in ("1.1", "1.2", "1.3", "1.4")])
    assert found.stored == [SentInstance("1.1"), SentInstance("1.2", 45056)]
    assert found.refused == [RefusedInstance("1.3", 272), RefusedInstance("1.4")]
    (asked,) = running.asked
    assert (asked.method, asked.target) == ("POST", "/dicom-web/studies")
    assert asked.headers["Accept"] == JSON
    assert parts(asked) == [uid.encode() * 1000 for uid in ("1.1", "1.2", "1.3", "1.4")]


def test_many_files_are_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_store, "BATCH_INSTANCES", 2)
    monkeypatch.setattr(web_store, "BATCH_BYTES", 10)
    sent = [outgoing(f"1.{number}", b"a" * size) for number, size in enumerate((1, 1, 1, 9, 11, 1))]
    assert [len(batch) for batch in web_store.batches(sent)] == [2, 2, 1, 1]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (response(200, b"[]"), PeerFailed),
        (response(200, b"<xml/>"), PeerFailed),
        (response(200), PeerFailed),
        (response(413), PeerFailed),
        (response(503, Retry_After="5"), Unavailable),
        (response(301, Location="/x"), PeerFailed),
    ],
    ids=range(6),
)
def test_a_store_without_a_report_is_no_success_and_is_sent_once(answer: list[bytes], error: type[Exception]) -> None:
    with web_peer(lambda _: answer) as (peer, running), pytest.raises(error):
        peer.store([outgoing("1.1", b"a")])
    assert len(running.asked) == 1


def test_a_report_of_another_form_leaves_every_instance_refused() -> None:
    for body in (b"{}", b'{"00081199": 1}', b'{"00081199": {"Value": [1, {"00081155": {"Value": "1.1"}}]}}'):
        with web_peer(lambda _, body=body: response(200, body)) as (peer, _):
            assert peer.store([outgoing("1.1", b"a")]).refused == [RefusedInstance("1.1")]


def test_a_file_that_has_become_shorter_is_not_completed() -> None:
    short = OutgoingInstance("1.1", 10, lambda: io.BytesIO(b"short"))
    with web_peer(lambda _: response(200, report({"1.1": None}, {}))) as (peer, _), pytest.raises(GatewayError):
        peer.store([short])


def test_an_authority_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(ValueError, match="cannot be loaded"):
        WebPeer(PeerEntry("pacs", web=WebAddress("https://127.0.0.1", ca=tmp_path / "ca.pem")))


def test_tls_is_verified_against_the_authority_of_the_peer(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with receiving(authority.sign(named(CN="pacs"), "server.pem")) as receiver:
        for options, sentence in (
            ({}, "not secure"),
            ({"ca": authority.path}, "status 501"),  # a receiver of webhooks, which answers no GET
            ({"ca": Authority(tmp_path, "other").path}, "not secure"),
            ({"verify": False}, "status 501"),
        ):
            peer = WebPeer(PeerEntry("pacs", web=WebAddress(receiver.origin, **options)))
            with pytest.raises(PeerFailed, match=sentence):
                peer.echo()
            peer.close()


def test_a_peer_that_wants_a_certificate_gets_that_of_the_gateway_alone(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.path)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(authority.sign(named(CN="pacs"), "server.pem"))
    mine = authority.sign(named(CN="gateway"), "gateway.pem")
    stranger = other.sign(named(CN="gateway"), "stranger.pem")

    def answer(asked: Asked) -> Iterable[bytes]:
        if asked.method == "POST":
            return response(200, report({"1.1": None}, {}))
        return response(200, b"[]") if "?" in asked.target else response(200, study(b"file"), RELATED)

    with scripted(answer, server) as running:
        url = f"https://127.0.0.1:{running.port}/dicom-web"
        peer = WebPeer(PeerEntry("pacs", web=WebAddress(url, ca=authority.path, certificate=mine, key=mine)))
        peer.echo()
        assert len(peer.store([outgoing("1.1", b"a" * 1_000_000)]).stored) == 1
        peer.fetch(FetchTarget("1.2"), taken := Taken(), LIMITS)
        assert taken.files == [b"file"]
        peer.close()
        assert [asked.method for asked in running.asked] == ["GET", "POST", "GET"]
        for wrong in ({}, {"certificate": stranger, "key": stranger}):
            refused = WebPeer(PeerEntry("pacs", web=WebAddress(url, ca=authority.path, **wrong)))
            with pytest.raises(PeerFailed, match="not secure") as failure:
                refused.echo()
            assert failure.value.outcome == "tls"
            with pytest.raises((PeerFailed, Unavailable)):  # a pipe that broke while it was written to hides the alert
                refused.store([outgoing("1.1", b"a" * 1_000_000)])
            refused.close()
        assert len(running.asked) == 3


def test_the_requests_are_those_of_the_conformance_statement() -> None:
    with web_peer(lambda _: response(404)) as (peer, running):
        peer.echo()
        for query in (
            PeerQuery("series", "1.2"),
            PeerQuery("instance", "1.2"),
            PeerQuery("instance", "1.2", "1.3"),
        ):
            assert list(peer.find(query)) == []
        for target in (FetchTarget("1.2"), FetchTarget("1.2", "1.3"), FetchTarget("1.2", "1.3", "1.4")):
            with pytest.raises(StudyNotFound):
                peer.fetch(target, Taken(), LIMITS)
        with pytest.raises(PeerFailed) as failure:
            peer.store([outgoing("1.4", b"a")])
        assert failure.value.outcome == "status-404"
    names = {"1.2": "{study}", "1.3": "{series}", "1.4": "{sop}"}
    sent = []
    for asked in running.asked:
        path = asked.target.removeprefix("/dicom-web").partition("?")[0]
        shape = "/".join(names.get(word, word) for word in path.split("/"))
        sent.append([asked.method, f"`{shape}`", f"`{asked.headers['Accept']}`"])
    assert sent == rows(ROOT / "docs/conformance.md", "request")
