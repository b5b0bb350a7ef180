"""Under real gunicorn: a study is sent once, by several at once, and each caller sees their own."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import Gateway, Settings
from gateway.access import listeners
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller, Role
from gateway.access.callers_file import CallerEntry, change
from gateway.errors import InstanceConflict
from tests.conftest import ROOT, Serve, Server
from tests.studies.asking import Asking, entry, plain
from tests.studies.files import File, file, files
from tests.waiting import eventually

CALLERS: dict[str, tuple[Role, ...]] = {
    "one": ("infer", "read", "write", "delete"),
    "other": ("infer", "read", "write", "delete"),
    "reader": ("read",),
    "admin": ("admin",),
}
PATIENT = ("Doe", "MRN-4711")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def server(serve: Serve, folder: Path) -> Server:
    """A server without authentication."""
    return serve("tests.apps.typed:app", "--workers", "4", GATEWAY_STORE_FOLDER=str(folder / "open"))


@pytest.fixture(scope="module")
def anyone(server: Server) -> Asking:
    return Asking(server.url)


Who = Callable[[str], Asking]


@pytest.fixture(scope="module")
def guarded(serve: Serve, folder: Path) -> Who:
    """One that knows its callers."""
    keys = {name: new_key() for name in CALLERS}
    entries = [CallerEntry(Caller(name, frozenset(roles)), fingerprint(keys[name])) for name, roles in CALLERS.items()]
    change(folder / "callers.json", lambda _: entries)
    settings = {"GATEWAY_API_KEYS_FILE": str(folder / "callers.json"), "GATEWAY_STORE_FOLDER": str(folder / "guarded")}
    running = serve("tests.apps.typed:app", "--workers", "2", **settings)
    return lambda name: Asking(running.url, keys.get(name, ""))


def test_only_what_is_missing_travels(anyone: Asking) -> None:
    sent = files(6, study="travels")
    assert [one["state"] for one in anyone.manifest(sent)] == ["missing"] * 6
    assert anyone.send_missing(sent[:4]) == 4
    assert anyone.send_missing(sent) == 2
    assert anyone.send_missing(sent) == 0


def test_ten_clients_with_overlapping_manifests_store_each_instance_once(
    anyone: Asking, server: Server, folder: Path
) -> None:
    shared, failures, lock = files(60, study="overlapping"), list[BaseException](), threading.Lock()

    def work(number: int) -> None:
        mine = [shared[(5 * number + step) % 60] for step in range(40)]
        try:
            for start in range(0, 40, 8):
                anyone.send_missing(mine[start : start + 8])
        except BaseException as error:
            with lock:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    wanted = {one.entry.sha256 for one in shared}
    kept = [path.name for path in (folder / "open" / "instances").rglob("*") if path.name in wanted]
    assert sorted(kept) == sorted(wanted)
    assert anyone.ask("GET", f"/studies/{shared[0].entry.study_instance_uid}").json()["series"][0]["instances"] != []
    assert "locked" not in server.log


def test_a_conflict_is_a_409_with_both_digests_and_is_resolved_as_the_client_chooses(anyone: Asking) -> None:
    old, new = file(1, study="conflict"), file(1, study="conflict", note="new")
    anyone.send_missing([old])
    assert anyone.manifest([new])[0] == {
        "sop_instance_uid": new.entry.sop_instance_uid,
        "sha256": new.entry.sha256,
        "state": "conflict",
        "existing": old.entry.sha256,
    }
    status, body = plain(anyone.send([new]))
    assert (status, body["type"]) == (409, f"urn:gateway:problem:{InstanceConflict.code}")
    assert [(one["sha256"], one["existing"]) for one in body["conflicts"]] == [(new.entry.sha256, old.entry.sha256)]
    for way, state in (("keep", "kept"), ("replace", "replaced")):
        (said,) = anyone.send([new], on_conflict=way).json()["instances"]
        assert (said["state"], said["existing"]) == (state, old.entry.sha256)
    assert anyone.manifest([new])[0]["state"] == "present"
    assert anyone.send([new], on_conflict="guess").status_code == 422


def test_what_is_no_chunk_is_refused_by_its_own_name(anyone: Asking, server: Server) -> None:
    one = file("refused", study="refused")
    chunk = "/studies/instances"
    wrong = File(replace(one.entry, sha256="0" * 64), one.data)
    renamed = File(replace(one.entry, sop_instance_uid="1.2.3"), one.data)
    answers = [
        (anyone.send([wrong]), 422, "digest-mismatch"),
        (anyone.send([renamed]), 422, "instance-mismatch"),
        (anyone.parts(chunk, {"instances": [one.words]}, []), 400, "broken-json"),
        (anyone.parts(chunk, {"instances": [one.words]}, [one.data] * 2), 400, "broken-json"),
        (anyone.parts(chunk, {"instances": [one.words] * 2}, [one.data] * 2), 400, "broken-json"),
        (anyone.parts(chunk, {"instances": []}, []), 400, "broken-json"),
        (anyone.parts(chunk, [one.words], [one.data]), 400, "broken-json"),
        (anyone.ask("POST", chunk, json={}), 415, "unsupported-media-type"),
        (anyone.ask("POST", "/studies/manifest", data=b"[]"), 415, "unsupported-media-type"),
        (anyone.ask("POST", "/studies/manifest", json={}), 400, "broken-json"),
        (anyone.ask("POST", "/studies/manifest", json=[one.words | {"size": -1}]), 400, "broken-json"),
        (anyone.ask("POST", "/studies/manifest", json=[one.words] * 20_001), 413, "limit-exceeded"),
    ]
    assert [(answer.status_code, answer.json()["type"].rpartition(":")[2]) for answer, *_ in answers] == [
        (status, code) for _, status, code in answers
    ]
    assert anyone.manifest([one])[0]["state"] == "missing"
    assert not any(word in server.log for word in (*PATIENT, one.entry.study_instance_uid))


@pytest.mark.parametrize("name", ["sop_instance_uid", "series_instance_uid", "study_instance_uid", "sha256"])
@pytest.mark.parametrize(
    "value", ["../../../../etc/passwd", "1.2\n", "1.2\0", "", "1" * 65, "/1.2", "1..2", "A" * 64, None]
)
def test_an_invalid_uid_or_digest_never_reaches_the_store(anyone: Asking, name: str, value: object) -> None:
    status, body = plain(anyone.ask("POST", "/studies/manifest", json=[file(1).words | {name: value}]))
    assert (status, body["type"]) == (400, "urn:gateway:problem:broken-json")
    assert f"/0/{name}" in body["detail"]
    assert not value or str(value) not in body["detail"]


def test_tricks_in_the_paths_of_urls_find_nothing(anyone: Asking) -> None:
    for path in ("/studies/..%2f..%2fetc", "/studies/%00", "/results/..%2f..", "/bundles/a/files/..%2f..%2fx"):
        assert anyone.ask("GET", path).status_code == 404
    assert anyone.ask("GET", "/bundles/..%5c").status_code == 422
    assert anyone.ask("POST", "/bundles/%2e%2e%2fa/manifest", json=[]).status_code in (404, 422)


def test_studies_are_listed_looked_at_and_forgotten(anyone: Asking) -> None:
    sent = [*files(3, study="listed", series="a"), *files(2, study="listed", series="b")]
    anyone.send_missing(sent)
    uid = sent[0].entry.study_instance_uid
    (one,) = [each for each in anyone.ask("GET", "/studies").json()["studies"] if each["study_instance_uid"] == uid]
    assert (one["series"], one["instances"], one["bytes"]) == (2, 5, sum(len(each.data) for each in sent))
    assert one["stored"].endswith("Z")
    found = anyone.ask("GET", f"/studies/{uid}").json()["series"]
    assert {each["sha256"] for series in found for each in series["instances"]} == {each.entry.sha256 for each in sent}
    went = anyone.ask("DELETE", f"/studies/{uid}").json()
    assert (went["instances"], went["bytes"], went["results"]) == (5, one["bytes"], 0)
    for method in ("GET", "DELETE"):
        assert anyone.ask(method, f"/studies/{uid}").status_code == 404


def test_a_list_is_read_page_by_page(anyone: Asking) -> None:
    for number in range(3):
        anyone.send_missing([file(number, study=("page", number))])
    seen, after = list[str](), ""
    while after is not None:
        page = anyone.ask("GET", "/studies", params={"limit": 2, "after": after}).json()
        seen += [one["study_instance_uid"] for one in page["studies"]]
        after = page["next"]
    assert seen == sorted(set(seen)) and len(seen) >= 3
    assert anyone.ask("GET", "/studies", params={"limit": "0"}).status_code == 422


def test_a_second_caller_cannot_learn_by_digest_or_uid_what_the_first_has_sent(guarded: Who) -> None:
    here, nowhere = files(2, study="secret"), files(2, study="never sent")
    guarded("one").send_missing(here)
    told = []
    for sent in (here, nowhere):
        entry, other = sent[0].entry, guarded("other")
        study = entry.study_instance_uid
        answers = [
            other.ask("GET", f"/studies/{study}"),
            other.ask("DELETE", f"/studies/{study}"),
            other.ask("GET", "/studies"),
            other.ask("GET", "/results", params={"study": study}),
            *(other.ask("POST", "/preflight", json=words) for words in _references(entry)),
            other.send([File(replace(entry, sha256="0" * 64), sent[0].data)]),
        ]
        told.append([plain(answer) for answer in answers])
        assert [one["state"] for one in other.manifest(sent)] == ["missing"] * 2
    assert told[0] == told[1]
    assert guarded("other").send(here).json() == guarded("one").send(here).json()
    guarded("other").ask("DELETE", f"/studies/{here[0].entry.study_instance_uid}")
    assert [one["state"] for one in guarded("one").manifest(here)] == ["present"] * 2


def _references(entry: object) -> list[dict[str, object]]:
    uids = {"study": entry.study_instance_uid, "series": entry.series_instance_uid}  # type: ignore[attr-defined]
    return [*({name: uid} for name, uid in uids.items()), {"instances": [entry.sha256]}]  # type: ignore[attr-defined]


def test_a_caller_may_do_exactly_what_its_roles_allow(guarded: Who) -> None:
    sent = files(1, study="roles")
    uid = sent[0].entry.study_instance_uid
    guarded("one").send_missing(sent)
    refused = [
        guarded("reader").ask("POST", "/studies/manifest", json=[]),
        guarded("reader").send(sent),
        guarded("reader").ask("DELETE", f"/studies/{uid}"),
        guarded("reader").ask("POST", "/preflight", json={"study": uid}),
        guarded("one").ask("DELETE", f"/studies/{uid}", params={"callers": "all"}),
        guarded("one").ask("GET", "/bundles"),
        guarded("one").ask("POST", "/bundles/lungs/manifest", json=[]),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert guarded("nobody").ask("GET", "/studies").status_code == 401
    assert guarded("admin").ask("DELETE", f"/studies/{uid}", params={"callers": "all"}).json()["instances"] == 1
    assert guarded("one").manifest(sent)[0]["state"] == "missing"


def test_a_bundle_is_pushed_by_its_differences_and_pulled(guarded: Who) -> None:
    admin, contents = guarded("admin"), {"weights/a.bin": b"a" * 70_000, "b.json": b"{}"}
    entries = [entry(key, data) for key, data in contents.items()]
    said = admin.ask("POST", "/bundles/lungs/manifest", json=entries).json()
    assert (said["missing"], said["same"], said["extra"]) == (list(contents), [], [])
    pushed = admin.parts("/bundles/lungs/files", {"files": entries}, list(contents.values()))
    assert pushed.json() == {"files": 2, "bytes": 70_002, "removed": 0}
    assert admin.ask("POST", "/bundles/lungs/manifest", json=entries).json()["missing"] == []
    for one in admin.ask("GET", "/bundles/lungs").json()["files"]:
        answer = admin.ask("GET", f"/bundles/lungs/files/{one['sha256']}")
        assert answer.content == contents[one["key"]]
    unsafe = [entry("../a.bin", b"")]
    assert admin.ask("POST", "/bundles/lungs/manifest", json=unsafe).json()["type"].endswith("key-refused")
    assert admin.parts("/bundles/lungs/files", {"files": unsafe}, [b""]).status_code == 422
    assert admin.ask("DELETE", "/bundles/lungs").json() == {"files": 2, "bytes": 70_002}
    assert admin.ask("GET", "/bundles/lungs").status_code == 404


def test_preflight_reports_what_would_be_accepted_of_headers_and_of_a_reference(anyone: Asking) -> None:
    sent = files(4, study="preflight")
    headers = [one.data[: one.data.index(b"\xe0\x7f\x10\x00")] for one in sent]
    anyone.send_missing(sent)
    answers = [
        anyone.parts("/preflight", {"models": ["/dense"]}, headers),
        anyone.ask("POST", "/preflight", json={"models": ["/dense"], "study": sent[0].entry.study_instance_uid}),
    ]
    for answer in answers:
        (one,) = answer.json()["models"]
        assert (one["model"], one["accepted"], one["reasons"]) == ("/dense", True, [])
        assert one["series"] == [
            {"series_instance_uid": sent[0].entry.series_instance_uid, "accepted": True, "reasons": []}
        ]
    other = file("preflight", study="preflight", modality="MR").data
    one = anyone.parts("/preflight", {}, [other[: other.index(b"\xe0\x7f\x10\x00")]]).json()["models"][0]
    assert (one["accepted"], one["reasons"]) == (False, ["This model needs CT; the study holds MR."])
    assert [(each["accepted"], each["reasons"]) for each in one["series"]] == [(False, one["reasons"])]
    assert anyone.parts("/preflight", {"models": ["/none"]}, headers).status_code == 422


def test_a_full_disk_is_a_507_and_leaves_a_clean_store(serve: Serve, tmp_path: Path) -> None:
    running = serve("tests.apps.cramped:app", GATEWAY_STORE_FOLDER=str(tmp_path / "store"))
    small, beside, large = file("small"), file("beside"), file("large")
    large = padded(large, 9 << 20)
    asking = Asking(running.url)
    full = 'gateway_rejections_total{reason="storage-full",route="other"}'
    assert f"{full} 0.0" in asking.ask("GET", "/metrics").text
    status, body = plain(asking.send([beside, large]))
    assert (status, body["type"]) == (507, "urn:gateway:problem:storage-full")
    assert f"{full} 1.0" in asking.ask("GET", "/metrics").text
    assert [one["state"] for one in asking.manifest([beside, large])] == ["missing"] * 2
    kept = [path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.stat().st_size > 100_000]
    assert [path.name for path in kept if not path.name.startswith("index.sqlite")] == []
    assert list((tmp_path / "store" / "incoming").iterdir()) == []
    assert asking.send([small]).status_code == 200
    weights = bytes(9 << 20)
    pushed = asking.parts("/bundles/lungs/files", {"files": [entry("a.bin", weights)]}, [weights])
    assert pushed.status_code == 507
    assert asking.ask("GET", "/bundles").json() == {"bundles": []}
    assert [path for path in (tmp_path / "store" / "bundles").rglob("*") if path.is_file()] == []
    assert list((tmp_path / "store" / "incoming").iterdir()) == []


def test_a_caller_that_floods_the_store_pushes_out_no_other(serve: Serve, tmp_path: Path) -> None:
    keys = {name: new_key() for name in ("one", "other")}
    entries = [CallerEntry(Caller(name, frozenset(CALLERS[name])), fingerprint(key)) for name, key in keys.items()]
    change(tmp_path / "callers.json", lambda _: entries)
    own, flood = ([file("slice", study=f"{name}{number}") for number in range(count)] for name, count in COUNTS)
    running = serve(
        "tests.apps.typed:app",
        "--workers",
        "2",
        GATEWAY_API_KEYS_FILE=str(tmp_path / "callers.json"),
        GATEWAY_STORE_FOLDER=str(tmp_path / "store"),
        GATEWAY_STORE_MAX_BYTES=str(4 * max(len(sent.data) for sent in [*own, *flood])),
    )
    one, other = (Asking(running.url, key) for key in keys.values())
    one.send_missing(own)
    assert [other.send([sent]).status_code for sent in flood] == [200] * len(flood)
    assert [entry["state"] for entry in one.manifest(own)] == ["present"] * 2
    assert [entry["state"] for entry in other.manifest(flood)].count("present") == 2


COUNTS = (("own", 2), ("flood", 12))
"""Studies of one instance that two callers send to a store for four."""


def padded(one: File, size: int) -> File:
    """The same file with padding after its pixels (PS3.10 7.2)."""
    data = one.data + b"\xfc\xff\xfc\xff" + b"OB\0\0" + size.to_bytes(4, "little") + bytes(size)
    return File(replace(one.entry, size=len(data), sha256=hashlib.sha256(data).hexdigest()), data)


def test_without_the_setting_the_routes_do_not_exist() -> None:
    client = Gateway("service", settings=Settings()).test_client()
    for path in ("/studies", "/results", "/bundles"):
        assert client.get(path).status_code == 404
    assert client.post("/preflight").status_code == 404


def test_a_rule_of_the_service_for_one_of_the_paths_wins(tmp_path: Path) -> None:
    app = Gateway("service", settings=Settings(store_folder=tmp_path))
    app.add_url_rule("/studies", "mine", lambda: "mine")
    assert app.test_client().get("/studies").text == "mine"
    assert app.test_client().get("/studies/1.2").status_code == 404
    app.service.store.store.close()


@pytest.mark.parametrize(
    ("address", "settings", "starts"),
    [
        (("0.0.0.0", 1), {}, False),
        (("192.0.2.1", 1), {}, False),
        (("::", 1), {}, False),
        (("127.0.0.1", 1), {}, True),
        (("0.0.0.0", 1), {"allow_anonymous": True}, True),
        (("0.0.0.0", 1), {"api_keys_file": "callers.json"}, True),
    ],
)
def test_off_loopback_a_store_needs_authentication_or_a_setting(
    tmp_path: Path, address: tuple[str, int], settings: dict[str, object], starts: bool
) -> None:
    if "api_keys_file" in settings:
        settings = {"api_keys_file": tmp_path / "callers.json"}
        change(tmp_path / "callers.json", lambda entries: entries)
    before = listeners.addresses()
    listeners.announce([address])
    app = Gateway("service", settings=Settings(store_folder=tmp_path / "store", **settings))
    try:
        if starts:
            app.open()
            app.service.store.store.close()
        else:
            with pytest.raises(ValueError, match="listens beyond this machine"):
                app.open()
            assert not (tmp_path / "store").exists()
    finally:
        listeners.announce(before)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "This server listens beyond this machine without authentication."),
        ({"GATEWAY_DATABASE_URL": "oracle://host/base"}, "should be of PostgreSQL or SQLite"),
    ],
)
@pytest.mark.slow
def test_a_store_that_may_not_start_ends_the_server_with_a_sentence(
    tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    host = "127.0.0.1" if settings else "0.0.0.0"
    command = [sys.executable, "-m", "gateway", "serve", "tests.apps.typed:app", "--host", host, "--port", "0"]
    environment = os.environ | {"GATEWAY_STORE_FOLDER": str(tmp_path / "store")} | settings
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3
    (line,) = [line for line in ended.stderr.splitlines() if "cannot start" in line]
    assert sentence in line
    assert "Traceback" not in ended.stderr


def test_an_upload_whose_client_disconnects_leaves_nothing(anyone: Asking, server: Server, folder: Path) -> None:
    one, incoming = file("gone", study="gone"), folder / "open" / "incoming"
    assert anyone.manifest([one])[0]["state"] == "missing"
    text = json.dumps({"instances": [one.words]}).encode()
    body = b"--b\r\n\r\n" + text + b"\r\n--b\r\n\r\n" + one.data
    head = f"POST /studies/instances HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body) + 9}\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode() + b"Content-Type: multipart/related; boundary=b\r\n\r\n" + body[:-500])
        eventually(lambda: any(incoming.iterdir()))
    eventually(lambda: not any(incoming.iterdir()))
