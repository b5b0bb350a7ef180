"""An upload with failures: interrupted, refused, in conflict, with files that change; the client is under test."""

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.client import (
    AnswerCorrupt,
    Client,
    ClientError,
    Conflict,
    Disconnected,
    Reference,
    Refused,
    SourceUnreadable,
    TimedOut,
    Unreachable,
)
from gateway.dicom.samples import phantom
from gateway.errors import StudyRefused
from tests.client.servers import Heard, Said, answer, listening, problem
from tests.client.stores import Store, said
from tests.waiting import PATIENCE

SLICES = 40


@dataclass
class Desk:
    """A store, a client of it and a study; all files in the study are older than a cache distrusts."""

    store: Store
    client: Client
    study: Path
    cache: Path

    def sent(self) -> int:
        """Instances that have travelled."""
        return sum(len(chunk.parts) - 1 for chunk in self.store.chunks())


@pytest.fixture(scope="session")
def slices(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return [path.read_bytes() for path in phantom.write(tmp_path_factory.mktemp("slices"), slices=SLICES, size=16)]


@pytest.fixture
def desk(tmp_path: Path, slices: list[bytes]) -> Iterator[Desk]:
    study, store, cache = tmp_path / "study", Store(), tmp_path / "cache"
    study.mkdir()
    for index, data in enumerate(slices):
        (study / f"{index}.dcm").write_bytes(data)
        age(study / f"{index}.dcm")
    with listening(store) as url, Client(url, timeout=PATIENCE, cache=cache) as client:
        yield Desk(store, client, study, cache)


def age(path: Path, seconds: float = 60) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_study_travels_once_in_chunks_of_sixteen(desk: Desk) -> None:
    first, again = desk.client.upload(desk.study), desk.client.upload(desk.study)
    assert sorted(len(chunk.parts) - 1 for chunk in desk.store.chunks()) == [8, 16, 16]
    assert (first.sent, again.sent, again.bytes_sent) == (SLICES, 0, 0)
    assert first.bytes_sent == sum(path.stat().st_size for path in desk.study.iterdir())
    assert len(desk.store.held) == SLICES


def test_the_entries_of_a_manifest_describe_the_files(desk: Desk) -> None:
    desk.client.upload(desk.study)
    entries = json.loads(desk.store.heard[0].body)
    assert {tuple(sorted(entry)) for entry in entries} == {
        ("series_instance_uid", "sha256", "size", "sop_instance_uid", "study_instance_uid")
    }
    assert {entry["size"] for entry in entries} == {path.stat().st_size for path in desk.study.iterdir()}


def test_an_upload_that_was_interrupted_sends_only_the_rest(desk: Desk) -> None:
    desk.store.trouble = lambda request: problem(500, title="Down") if len(desk.store.chunks()) > 1 else None
    with pytest.raises(Refused, match="Down"):
        desk.client.upload(desk.study, parallel=1)
    assert len(desk.store.held) == 16
    desk.store.trouble, desk.store.heard = lambda request: None, []
    assert desk.client.upload(desk.study).sent == SLICES - 16
    assert desk.sent() == SLICES - 16


def test_a_chunk_whose_connection_breaks_is_sent_again(desk: Desk) -> None:
    broken: list[Heard] = []

    def breaks_once(request: Heard) -> Said | None:
        if "instances" not in request.path or broken:
            return None
        broken.append(request)
        return Said(b"", length=10)

    desk.store.trouble = breaks_once
    seen: list[tuple[int, int]] = []
    assert desk.client.upload(desk.study, progress=lambda sent, total: seen.append((sent, total))).sent == SLICES
    assert len(desk.store.held) == SLICES
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_a_busy_gateway_is_retried_after_the_stated_time(desk: Desk) -> None:
    times: list[float] = []

    def busy(request: Heard) -> Said | None:
        times.append(time.monotonic())
        said_so = problem(503, title="Busy")
        return Said(said_so.body, said_so.content_type, 503, {"Retry-After": "1"}) if len(times) == 1 else None

    desk.store.trouble = busy
    desk.client.upload(desk.study)
    assert times[1] - times[0] >= 1


def test_a_full_disk_is_reported_at_once_and_not_retried(desk: Desk) -> None:
    desk.store.trouble = lambda r: problem(507, detail="No room.") if "instances" in r.path else None
    with pytest.raises(Refused, match="No room") as caught:
        desk.client.upload(desk.study, parallel=1)
    assert caught.value.status == 507
    assert len(desk.store.chunks()) == 1


def test_a_large_study_is_checked_in_parts_while_the_rest_is_hashed_and_at_once_when_known(
    desk: Desk, slices: list[bytes]
) -> None:
    uid = phantom_uid(desk).encode()
    for index in range(SLICES, 300):
        path = desk.study / f"{index}.dcm"
        path.write_bytes(slices[3].replace(uid, uid[:-3] + f"{index:03d}".encode()))
        age(path)
    seen: list[tuple[int, int]] = []
    done = desk.client.upload(desk.study, progress=lambda sent, total: seen.append((sent, total)))
    again = desk.client.upload(desk.study)
    asked = [json.loads(request.body) for request in desk.store.heard if request.path.endswith("manifest")]
    assert [len(one) for one in asked] == [128, 172, 300]
    assert [entry["sop_instance_uid"] for one in asked[:2] for entry in one] == [
        entry.sop_instance_uid for entry in done.entries
    ]
    assert (done.sent, desk.sent(), again.sent) == (300, 300, 0)
    assert done.entries == again.entries
    assert [sent for sent, _ in seen] == sorted(sent for sent, _ in seen)
    assert seen[-1] == (done.bytes_sent, done.bytes_sent)


def test_a_conflict_names_both_digests_and_sends_nothing(desk: Desk) -> None:
    uid = phantom_uid(desk)
    desk.store.held[uid] = "f" * 64
    with pytest.raises(Conflict) as caught:
        desk.client.upload(desk.study)
    (conflict,) = caught.value.conflicts
    assert (conflict.sop_instance_uid, conflict.remote) == (uid, "f" * 64)
    assert conflict.local != conflict.remote
    assert caught.value.status == 409
    assert desk.sent() == 0


def phantom_uid(desk: Desk) -> str:
    from gateway.dicom.reading.instances import read_instance

    return read_instance(desk.study / "3.dcm").sop_instance_uid


def test_a_conflict_may_keep_the_stored_file_and_name_it(desk: Desk) -> None:
    desk.store.held[phantom_uid(desk)] = "f" * 64
    done = desk.client.upload(desk.study, on_conflict="keep")
    assert (done.sent, done.retained) == (SLICES - 1, (phantom_uid(desk),))
    assert "f" * 64 in done.reference.digests
    assert all("on_conflict=keep" in chunk.path for chunk in desk.store.chunks())


def test_a_conflict_may_replace_what_is_there(desk: Desk) -> None:
    desk.store.held[phantom_uid(desk)] = "f" * 64
    assert desk.client.upload(desk.study, on_conflict="replace").sent == SLICES
    assert "f" * 64 not in desk.store.held.values()


def test_a_conflict_that_arises_meanwhile_is_one_too(desk: Desk) -> None:
    told = [{"sop_instance_uid": "1.2", "sha256": "a" * 64, "existing": "b" * 64}]
    conflict = problem(409, type="urn:gateway:problem:instance-conflict", conflicts=told)
    desk.store.trouble = lambda request: conflict if "instances" in request.path else None
    with pytest.raises(Conflict, match=r"1\.2"):
        desk.client.upload(desk.study)


def test_an_unknown_way_out_of_a_conflict_is_refused(desk: Desk) -> None:
    with pytest.raises(ValueError, match="fail, keep or replace"):
        desk.client.upload(desk.study, on_conflict="overwrite")


def test_a_file_that_changed_after_it_was_hashed_is_reported_and_hashed_again(desk: Desk) -> None:
    changed = desk.study / "0.dcm"

    def change(request: Heard) -> Said | None:
        if "manifest" in request.path:
            data = bytearray(changed.read_bytes())
            data[-1] ^= 1
            changed.write_bytes(data)
        return None

    desk.store.trouble = change
    with pytest.raises(SourceUnreadable, match="changed after it was hashed"):
        desk.client.upload(desk.study)
    desk.store.trouble = lambda request: None
    desk.client.upload(desk.study)
    assert len(desk.store.held) == SLICES


def test_files_in_memory_and_open_ones_are_uploaded_too(desk: Desk, slices: list[bytes]) -> None:
    with (desk.study / "1.dcm").open("rb") as file:
        assert desk.client.upload([slices[0], file, desk.study / "2.dcm"]).sent == 3


def test_other_files_in_a_folder_are_left_out(desk: Desk) -> None:
    (desk.study / "letter.txt").write_text("dear colleague")
    assert desk.client.upload(desk.study).sent == SLICES
    with pytest.raises(StudyRefused, match="no DICOM file"):
        desk.client.upload(desk.study / "letter.txt")
    with pytest.raises(SourceUnreadable, match="does not exist"):
        desk.client.upload(desk.study / "absent")


@pytest.mark.parametrize(
    "told", [{}, [], {"instances": []}, {"instances": [None]}, {"instances": "x"}, b"[" * 100_000, b"<html>"]
)
def test_an_answer_that_is_no_list_of_states_is_not_believed(desk: Desk, told: Any) -> None:
    desk.store.trouble = lambda request: Said(told, "application/json") if isinstance(told, bytes) else said(told)
    with pytest.raises(AnswerCorrupt):
        desk.client.upload(desk.study)


def test_a_wrong_token_is_refused_in_a_line(desk: Desk) -> None:
    desk.store.trouble = lambda r: (
        None if r.headers.get("Authorization") == "Bearer good" else problem(401, detail="No.")
    )
    with pytest.raises(Refused, match=r"No\. \(status 401\)"):
        desk.client.upload(desk.study)
    with Client(desk.client.base_url, token="good", cache=desk.cache) as client:
        assert client.upload(desk.study).sent == SLICES
    assert "good" not in repr(vars(client))


def test_a_key_is_sent_in_its_own_header(desk: Desk) -> None:
    with Client(desk.client.base_url, api_key="k-1", cache=desk.cache) as client:
        client.upload(desk.study)
    assert {request.headers.get("X-Api-Key") or request.headers.get("X-API-Key") for request in desk.store.heard} == {
        "k-1"
    }


def test_a_password_file_of_the_user_does_not_take_the_tokens_place(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Client(desk.client.base_url, token="t", cache=desk.cache) as client:
        client.upload(desk.study)
    assert {request.headers["Authorization"] for request in desk.store.heard} == {"Bearer t"}


def test_a_missing_certificate_is_reported_before_any_request(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="absent.pem is not a file"):
        Client("https://127.0.0.1:9", verify=tmp_path / "absent.pem")
    with pytest.raises(SourceUnreadable, match="absent.key is not a file"):
        Client("https://127.0.0.1:9", cert=(Path(__file__), tmp_path / "absent.key"))


def test_a_missing_server_is_reported(desk: Desk) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Client(url, cache=desk.cache) as client, pytest.raises(Unreachable, match="Is a server running there"):
            client.upload(desk.study)


def test_a_silent_server_is_waited_for_until_the_timeout(desk: Desk) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with Client(url, timeout=0.5, cache=desk.cache) as client, pytest.raises(TimedOut):
            client.upload(desk.study)


def test_an_upload_through_a_slow_server_arrives(desk: Desk) -> None:
    desk.store.trouble = lambda request: time.sleep(0.05)
    assert desk.client.upload(desk.study).sent == SLICES


def test_threads_may_share_a_client(desk: Desk) -> None:
    failures: list[BaseException] = []

    def upload() -> None:
        try:
            desk.client.upload(desk.study)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=upload) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(desk.store.held) == SLICES


# ---- asking a model ----


def test_a_stored_study_is_referenced_and_its_answer_checked(desk: Desk) -> None:
    kept = desk.client.upload(desk.study)
    files = [path.read_bytes() for path in desk.study.iterdir()]
    by_digest = {hashlib.sha256(file).hexdigest(): file for file in files}

    def model(request: Heard) -> Said | None:
        if request.path != "/masks":
            return None
        named = [by_digest[digest] for digest in json.loads(request.body)["instances"]]
        body = b"".join(b"--x\r\n\r\n" + part + b"\r\n" for part in (request.body, *named)) + b"--x--\r\n"
        return answer(Heard("", {"Content-Type": "multipart/related; boundary=x"}, body), {"said": 1})

    desk.store.trouble = model
    result = desk.client.infer(kept, "/masks", {"threshold": 3})
    words = json.loads(desk.store.heard[-1].body)
    assert (result.json, words["threshold"], len(words["instances"])) == ({"said": 1}, 3, SLICES)
    assert desk.store.heard[-1].headers["Content-Type"] == "application/json"
    first = desk.study / "0.dcm"
    first.write_bytes(first.read_bytes()[:-1] + b"\xff")
    with pytest.raises(AnswerCorrupt, match="other bytes"):
        desk.client.infer(kept, "/masks")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (Reference(study="1.2"), {"study": "1.2"}),
        (Reference(series=("1.2", "1.3")), {"series": ["1.2", "1.3"]}),
        (Reference(digests=("a" * 64,)), {"instances": ["a" * 64]}),
    ],
)
def test_a_study_may_be_named_in_three_ways(reference: Reference, words: dict[str, Any]) -> None:
    heard: list[Heard] = []

    def model(request: Heard) -> Said:
        heard.append(request)
        return answer(Heard("", {"Content-Type": "multipart/x; boundary=x"}, b"--x\r\n\r\n\r\n--x--\r\n"), {})

    with listening(model) as url, Client(url) as client:
        result = client.infer(reference, "/m")
        assert json.loads(heard[0].body) == words
        with pytest.raises(ClientError):
            result.to_png("nowhere")


def test_a_study_must_be_named_in_one_way() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(ValueError, match="use exactly one"):
        client.infer(Reference())


def test_inference_is_retried_only_where_nothing_had_started_and_the_caller_allows_it(desk: Desk) -> None:
    asked: list[Heard] = []
    busy = problem(503, title="Busy")

    def model(request: Heard) -> Said:
        asked.append(request)
        if len(asked) % 3 == 0:
            return answer(request, {})
        return Said(busy.body, busy.content_type, 503, {"Retry-After": "0"})

    with listening(model) as url, Client(url, retries=5) as client:
        with pytest.raises(Refused, match="Busy"):
            client.infer(desk.study)
        assert len(asked) == 1
        assert client.infer(desk.study, retries=3).json == {}
    assert len(asked) == 3


def test_inference_whose_connection_broke_is_not_retried(desk: Desk) -> None:
    asked: list[Heard] = []

    def model(request: Heard) -> Said:
        asked.append(request)
        return Said(b"", length=10)

    with listening(model) as url, Client(url) as client, pytest.raises((Disconnected, AnswerCorrupt)):
        client.infer(desk.study, retries=3)
    assert len(asked) == 1


def test_the_timeout_of_a_caller_is_sent_to_the_server(desk: Desk) -> None:
    asked: list[Heard] = []

    def model(request: Heard) -> Said:
        asked.append(request)
        return answer(request, {})

    with listening(model) as url:
        with Client(url) as client:
            client.infer(desk.study)
            client.infer(desk.study, timeout=2.5)
        with Client(url, timeout=60) as client:
            client.infer(desk.study, output="dicom")
    assert [request.headers.get("X-Request-Timeout") for request in asked] == [None, "2.5", "60"]
    assert json.loads(asked[2].parts[0]) == {"output": "dicom"}
