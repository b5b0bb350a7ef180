"""Backend.AI's API under real gunicorn, by a small client: sessions, files, executions, signatures and streams."""

import io
import json
import os
import subprocess
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from wsproto.events import CloseConnection, Ping

from gateway.access.callers import Caller
from gateway.access.key_pairs import KeyPair, change
from gateway.dicom.samples import phantom
from gateway.wire import Data, Part, decode
from tests.conftest import ROOT, Serve, Server
from tests.endpoints.backendai_client import SigningClient
from tests.waiting import eventually

pytestmark = pytest.mark.server

PAIRS = {
    name: KeyPair(Caller(name, frozenset({"infer"}), routes), f"AK{name.upper():0<18}", f"{name}-" + "s" * 40)
    for name, routes in {"alice": ("*",), "bob": ("/quick",), "eve": ("*",)}.items()
}
MARK = "Zyxwv^Patient"


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("backendai")
    change(folder / "pairs.json", lambda _: list(PAIRS.values()))
    return serve(
        "tests.apps.computing:app",
        *("--workers", "2"),
        GATEWAY_BACKENDAI_KEYS=str(folder / "pairs.json"),
        GATEWAY_STORE_FOLDER=str(folder / "store"),
        TEST_NOTES=str(folder),
    )


@pytest.fixture
def alice(server: Server) -> SigningClient:
    return SigningClient(server.url, PAIRS["alice"])


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return [path.read_bytes() for path in phantom.write(tmp_path_factory.mktemp("slices"))]


def code(answer: requests.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:gateway:problem:")


def of_kind(console: list[Any], kind: str) -> str:
    return "".join(content for name, content in console if name == kind)


def archives(answer: requests.Response) -> dict[str, bytes]:
    """The files of a download."""
    assert answer.status_code == 200, answer.text
    found, parts = dict[str, bytes](), list[bytes]()
    boundary = answer.headers["Content-Type"].partition("boundary=")[2].strip('"')
    for event in decode(boundary, [answer.content]):
        if isinstance(event, Part):
            parts.append(b"")
        elif isinstance(event, Data):
            parts[-1] += bytes(event.data)
    for data in parts:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            found |= {name: archive.extractfile(name).read() for name in archive.getnames()}
    return found


def test_the_version_needs_no_signature(server: Server) -> None:
    assert requests.get(f"{server.url}/backendai").json()["version"] == "v6.20220315"
    page = requests.get(f"{server.url}/backendai", headers={"Accept": "text/html"})
    assert page.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_session_is_made_found_renamed_and_destroyed(alice: SigningClient) -> None:
    made = alice.create("first", "registry.example/stable/bright:1.2-x86")
    assert made.status_code == 201
    assert {**made.json(), "sessionId": ""} | {"kernelId": ""} == {
        **{"sessionId": "", "sessionName": "first", "kernelId": "", "created": True},
        **{"status": "RUNNING", "servicePorts": []},
    }
    again = alice.create("first", "bright")
    assert (again.status_code, again.json()["created"]) == (200, False)
    assert again.json()["sessionId"] == made.json()["sessionId"]
    assert code(alice.create("first", "quick")) == (409, "compute-session-conflict")
    assert code(alice.create("first", "bright", reuseIfExists=False)) == (409, "compute-session-conflict")
    assert alice.ask("POST", "/session/first/rename?name=second").status_code == 204
    assert code(alice.ask("GET", "/session/first")) == (404, "compute-session-not-found")
    shown = alice.ask("GET", f"/kernel/{made.json()['sessionId']}").json()
    assert (shown["sessionName"], shown["route"], shown["model"]["version"]) == ("second", "/bright", "1.2")
    assert alice.ask("POST", "/session/second/complete", {"code": "a"}).json() == []
    assert alice.ask("DELETE", "/session/second").json() == {"stats": {}}
    assert code(alice.ask("DELETE", "/session/second")) == (404, "compute-session-not-found")


@pytest.mark.parametrize(
    ("words", "status", "type_"),
    [
        ({"image": "unknown"}, 404, "compute-session-not-found"),
        ({"image": "bright:3"}, 404, "compute-session-not-found"),
        ({"image": "quick", "name": "../x"}, 422, "parameter-refused"),
        ({"image": "quick", "startupCommand": "rm"}, 422, "parameter-refused"),
        ({"image": "quick", "bootstrap_script": "rm"}, 422, "parameter-refused"),
        ({"image": "quick", "config": {"environ": {"A": "1"}}}, 422, "parameter-refused"),
        ({"image": "quick", "config": {"mounts": ["data"]}}, 422, "parameter-refused"),
        ({"image": "quick", "clusterSize": 2}, 422, "parameter-refused"),
    ],
)
def test_what_a_session_does_not_have_is_refused(
    alice: SigningClient, words: dict[str, Any], status: int, type_: str
) -> None:
    answer = alice.create(words.pop("name", "refused"), **words)
    assert code(answer) == (status, type_)


def test_a_query_is_the_json_of_a_request(alice: SigningClient) -> None:
    alice.create("query")
    statuses, console = alice.loop("query", "query", '{"a": 1}')
    assert statuses[-2:] == ["finished", "0"]
    assert json.loads(of_kind(console, "stdout"))["study_ml_json"]["json"] == {"a": 1}
    statuses, console = alice.loop("query", "query", "import os; os.system('id')")
    assert statuses == ["finished", "1"]
    assert "JSON of a request" in of_kind(console, "stderr")


def test_a_batch_is_cleaned_built_and_executed(alice: SigningClient, slices: list[bytes]) -> None:
    alice.create("batch", "bright")
    assert alice.upload("batch", *((f"ct%2F{i}.dcm", each) for i, each in enumerate(slices))).status_code == 204
    options = {"clean": "*", "build": "*", "exec": "bright threshold=50"}
    statuses, console = alice.loop("batch", "batch", options=options)
    assert [each for each in statuses if each != "continued"] == ["clean-finished", "build-finished", "finished", "0"]
    assert f"{len(slices)} files, of which {len(slices)} are DICOM, of 1 studies." in of_kind(console, "stdout")
    answer = json.loads(of_kind(console, "stdout").splitlines()[-1])
    results = archives(alice.ask("GET", "/session/batch/download", {"files": ["results"]}))
    (folder,) = {name.rpartition("/")[0] for name in results}
    assert json.loads(results[f"{folder}/answer.json"]) == answer
    assert len(results) == 1 + len(answer["parts"])
    listed = json.loads(alice.ask("GET", "/session/batch/files", {"path": folder}).json()["files"])
    assert [each["filename"] for each in listed] == sorted(name.rpartition("/")[2] for name in results)


def test_commands_are_no_shell_s(alice: SigningClient) -> None:
    alice.create("shell")
    options = {"clean": "rm -rf /", "build": "make", "exec": "quick; touch /tmp/owned"}
    statuses, console = alice.loop("shell", "batch", options=options)
    assert statuses == ["clean-finished", "build-finished", "finished", "1"]
    assert of_kind(console, "stderr").count("This is not a shell") == 3


def test_a_build_says_why_a_model_refuses(alice: SigningClient) -> None:
    alice.create("refused", "bright")
    alice.upload("refused", ("notes.txt", b"no image"))
    statuses, console = alice.loop("refused", "batch", options={"build": "*", "exec": "*"})
    assert (statuses[0], statuses[-2:]) == ("clean-finished", ["finished", "1"])
    assert of_kind(console, "stderr").count("not DICOM") == 2


def test_a_model_that_asks_waits_for_input(alice: SigningClient) -> None:
    alice.create("asker", "named")
    statuses, console = alice.loop("asker", "query", "{}", "Bob", "secret")
    assert [each for each in statuses if each != "continued"] == ["waiting-input", "waiting-input", "finished", "0"]
    assert json.loads(of_kind(console, "stdout").splitlines()[-1])["study_ml_json"] == {"name": "Bob", "letters": 6}
    assert "secret" not in json.dumps(console)


def test_an_interactive_model_asks_for_points_again_until_they_fit(alice: SigningClient, slices: list[bytes]) -> None:
    alice.create("pointer", "located")
    alice.upload("pointer", *((f"{i}.dcm", each) for i, each in enumerate(slices)))
    statuses, console = alice.loop("pointer", "query", "{}", "no point", "[1, 50, 2]", "liver")
    assert statuses[-1] == "0", console
    assert "three finite numbers" in of_kind(console, "stderr")
    assert "0.5" in of_kind(console, "stdout").splitlines()[-1]


def test_a_model_that_raises_is_finished_with_a_reason(alice: SigningClient) -> None:
    alice.create("failing", "fails")
    statuses, console = alice.loop("failing", "query", json.dumps({"name": MARK}))
    assert statuses[-2:] == ["finished", "1"]
    assert "The model raised an exception" in of_kind(console, "stderr")
    assert MARK not in json.dumps(console)


def test_a_run_is_interrupted_and_its_log_stays(alice: SigningClient) -> None:
    alice.create("long", "told")
    first = alice.ask("POST", "/session/long", {"mode": "query", "code": '{"seconds": 600}'}).json()["result"]
    assert first["status"] == "continued"
    assert alice.ask("POST", "/session/long/interrupt").status_code == 204
    follow = {"mode": "continue", "code": "", "runId": first["runId"]}

    def ended() -> Any:
        result = alice.ask("POST", "/session/long", follow).json()["result"]
        return result if result["status"] == "finished" else None

    assert eventually(ended)["exitCode"] == 130
    assert alice.ask("GET", "/session/long/logs").json()["result"]["logs"] == "a line\n"
    assert code(alice.ask("POST", "/session/long", follow | {"runId": "other"})) == (404, "run-not-found")
    assert alice.ask("PATCH", "/session/long").status_code == 204


def test_files_are_listed_replaced_and_downloaded(alice: SigningClient) -> None:
    alice.create("files")
    assert alice.upload("files", ("a.txt", b"one"), ("b%2F%C3%A4%20c.bin", b"x" * 70_000)).status_code == 204
    assert alice.upload("files", ("a.txt", b"two"), ("empty", b"")).status_code == 204
    listed = alice.ask("GET", "/session/files/files", {"path": "."}).json()
    assert [(each["filename"], each["size"]) for each in json.loads(listed["files"])] == [
        ("a.txt", 3),
        ("b", 0),
        ("empty", 0),
    ]
    found = archives(alice.ask("GET", "/session/files/download", {"files": ["/home/work/a.txt", "b", "empty"]}))
    assert found == {"a.txt": b"two", "b/ä c.bin": b"x" * 70_000, "empty": b""}
    for missing in ("nothing", "a.txt/x"):
        answer = alice.ask("GET", "/session/files/download", {"files": [missing]})
        assert code(answer) == (404, "session-file-not-found")


@pytest.mark.parametrize(
    "name",
    [
        *("..%2Fa", "a%2F..%2Fb", "%2Fetc%2Fpasswd", "..", ".", "a%2F%2Fb", "a%5Cb", "a%00b", "C%3Aa", "results%2Fa"),
        *("a%0Ab", "%20", "x" * 300, "%2E%2E%2Fa", "a%2F.", "%C0%AE%C0%AE%2Fa", ""),
    ],
)
def test_tricks_in_names_of_files_are_refused(alice: SigningClient, name: str) -> None:
    alice.create("tricks")
    assert code(alice.upload("tricks", ("fine", b"1"), (name, b"2"))) == (422, "key-refused")
    assert json.loads(alice.ask("GET", "/session/tricks/files", {"path": ""}).json()["files"]) == []
    assert code(alice.upload("tricks", ("fine", b"1"), field="file")) == (400, "broken-body")


def test_sessions_are_of_their_own_caller(server: Server, alice: SigningClient) -> None:
    alice.create("private")
    bob = SigningClient(server.url, PAIRS["bob"])
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/logs"), ("POST", "/interrupt")):
        assert code(bob.ask(method, f"/session/private{path}")) == (404, "compute-session-not-found")
    assert code(bob.create("mine", "told")) == (403, "forbidden")
    other = f"/session/private?owner_access_key={PAIRS['alice'].access_key}"
    assert code(bob.ask("GET", other)) == (403, "forbidden")
    assert alice.ask("GET", other).status_code == 200


def test_a_changed_or_repeated_request_is_refused(server: Server, alice: SigningClient) -> None:
    alice.create("signed")
    more = {"Content-Type": "text/plain"}
    headers = alice.headers("POST", "/session/signed/interrupt", "text/plain") | more
    assert code(alice.sent("POST", "/session/other/interrupt", headers)) == (401, "unauthenticated")
    assert alice.sent("POST", "/session/signed/interrupt", headers).status_code == 204
    for _ in range(4):  # whichever worker answers
        assert code(alice.sent("POST", "/session/signed/interrupt", headers)) == (401, "unauthenticated")
    late = (datetime.now(UTC) - timedelta(minutes=16)).isoformat()
    headers = alice.headers("GET", "/session/signed", "text/plain", date=late) | more
    assert code(alice.sent("GET", "/session/signed", headers)) == (401, "unauthenticated")
    assert code(alice.sent("GET", "/session/signed", more)) == (401, "unauthenticated")
    answer = requests.get(f"{server.url}/backendai/session/signed", headers={"Authorization": "Bearer gw_x"})
    assert code(answer) == (401, "unauthenticated")
    assert requests.get(f"{server.url}/runs").status_code == 200  # nothing else needs a credential here


def test_a_stream_runs_a_batch_and_closes(alice: SigningClient) -> None:
    id = alice.create("streamed").json()["sessionId"]
    alice.upload("streamed", ("a", b"abc"))
    with alice.stream(id) as stream:
        assert stream.status == 101, stream.head
        stream.send(Ping(payload=b"are you there"))
        assert stream.pong() == b"are you there"
        stream.text({"mode": "batch", "code": "", "options": {"clean": "*", "build": "*", "exec": "*"}})
        assert [stream.result()["status"] for _ in range(2)] == ["clean-finished", "build-finished"]
        result, console = stream.until("finished")
        assert result["exitCode"] == 0
        assert json.loads(of_kind(console, "stdout"))["study_ml_json"]["sizes"] == [3]
        assert stream.close_code() == 1000


def test_a_stream_takes_answers_as_bare_text(alice: SigningClient) -> None:
    alice.create("asked", "named")
    with alice.stream("asked") as stream:
        stream.text({"mode": "query", "code": "{}", "options": {}})
        question, _ = stream.until("waiting-input")
        assert question["options"] == {"is_password": False}
        stream.text("Bob")
        question, _ = stream.until("waiting-input")
        assert question["options"] == {"is_password": True}
        stream.text("secret")
        result, console = stream.until("finished")
        assert json.loads(of_kind(console, "stdout"))["study_ml_json"] == {"name": "Bob", "letters": 6}


def test_the_run_of_a_client_that_leaves_is_cancelled(server: Server, alice: SigningClient) -> None:
    alice.create("left", "told")
    with alice.stream("left") as stream:
        stream.text({"mode": "query", "code": '{"seconds": 600}'})
        run = stream.result()["runId"]
    follow = {"mode": "continue", "code": "", "runId": run}
    eventually(lambda: alice.ask("POST", "/session/left", follow).json()["result"]["exitCode"] == 130)


@pytest.mark.parametrize(
    ("sent", "closes_with"),
    [
        (b"\x81\x03abc", 1002),  # not masked
        (b"\xf1\x80\0\0\0\0", 1002),  # reserved bits
        (b"\x81\x82\0\0\0\0\xff\xff", 1007),  # not UTF-8
        (b"\x81\x82\0\0\0\0{}", 1008),  # no mode
        (b"\x81\x82\0\0\0\0hi", 1008),  # not JSON
        (b"\x82\x81\0\0\0\0a", 1003),  # binary
    ],
)
def test_broken_frames_close_a_stream_with_a_code(alice: SigningClient, sent: bytes, closes_with: int) -> None:
    alice.create("frames")
    with alice.stream("frames") as stream:
        stream.send_bytes(sent)
        assert stream.close_code() == closes_with


def test_a_stream_is_opened_once_with_one_signature(alice: SigningClient) -> None:
    alice.create("once")
    headers = alice.headers("GET", "/stream/session/once/execute", "application/octet-stream")
    with alice.stream("once", headers) as stream:
        assert stream.status == 101
        stream.send(CloseConnection(code=1000))
        assert stream.close_code() == 1000
    with alice.stream("once", headers) as stream:
        assert stream.status == 401


def test_streams_that_wait_hold_no_thread(server: Server, alice: SigningClient) -> None:
    """More streams than threads, and the server answers."""
    alice.create("many", "named")
    streams = [alice.stream("many") for _ in range(24)]
    opened = [stream.__enter__() for stream in streams]
    try:
        for each in opened:
            each.text({"mode": "query", "code": "{}"})
        assert requests.get(f"{server.url}/readyz", timeout=5).status_code == 200
        assert alice.ask("GET", "/session/many").status_code == 200
        opened[0].until("waiting-input")
    finally:
        for each in opened:
            each.close()


def test_the_loop_of_the_documentation_works(server: Server, tmp_path: Path, slices: list[bytes]) -> None:
    for number, data in enumerate(slices):
        (tmp_path / f"{number}.dcm").write_bytes(data)
    variables = {"ENDPOINT": f"{server.url}/backendai", **{"ACCESS_KEY": PAIRS["alice"].access_key}}
    variables |= {"SECRET_KEY": PAIRS["alice"].secret_key}
    ran = subprocess.run(
        [sys.executable, ROOT / "examples/backendai_loop.py", "located", "{}", *tmp_path.glob("*.dcm")],
        env=os.environ | {f"BACKEND_{name}": value for name, value in variables.items()},
        input="[1, 50, 2]\nliver\n",
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-3:-1] == ["Where?", "Which? (liver, spleen)"]
    assert '"liver"' in ran.stdout.splitlines()[-1]


def test_no_patient_is_in_the_log(server: Server) -> None:
    assert MARK not in server.log
    assert not [pair for pair in PAIRS.values() if pair.secret_key in server.log]
