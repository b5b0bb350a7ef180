"""``upload``, ``results``, ``bundle``, ``preflight`` and ``send --store`` against a real gateway with a store."""

import json
import socket
import sys
from pathlib import Path

import pytest

from gateway.dicom.samples import phantom
from tests.cli.conftest import Run
from tests.cli.terminals import seen_by_a_terminal
from tests.client.servers import listening, problem
from tests.client.stores import Store
from tests.conftest import Serve, Server


@pytest.fixture(scope="module")
def store(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The models of tests/client/service.py with a store."""
    return serve("tests.client.service:app", GATEWAY_STORE_FOLDER=str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slices")
    phantom.write(folder, slices=5, size=24)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("GATEWAY_TOKEN", "GATEWAY_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_an_upload_is_reported_for_people_and_for_scripts(run: Run, store: Server, slices: Path) -> None:
    first = run("upload", "-i", slices, "-p", store.port)
    assert first.status == 0, first.err
    assert "of 5 instances" in first.out
    assert "study   1.2." in first.out
    again = json.loads(run("upload", "-i", slices, "-p", store.port, "--json").out)
    assert (again["instances"], again["sent"], again["bytes_sent"]) == (5, 0, 0)


def test_a_preflight_is_a_line_for_each_model(run: Run, store: Server, slices: Path) -> None:
    ran = run("preflight", "-i", slices, "-p", store.port)
    assert ran.status == 0, ran.err
    *yes, no = sorted(ran.out.splitlines(), key=lambda line: "  no: " in line)
    assert sorted(yes) == ["/dense  yes", "/everything  yes", "/umlaut  yes"]
    assert no.startswith("/mr  no: ")
    told = json.loads(run("preflight", "-i", slices, "-p", store.port, "--model", "/mr", "--json").out)
    assert [(one["model"], one["accepted"]) for one in told] == [("/mr", False)]


def test_a_preflight_of_a_stored_study_sends_nothing(run: Run, store: Server, slices: Path) -> None:
    (uid,) = json.loads(run("upload", "-i", slices, "-p", store.port, "--json").out)["studies"]
    assert "/everything  yes" in run("preflight", "--study", uid, "-p", store.port).out
    assert "(status 404)" in run("preflight", "--study", "1.2.3", "-p", store.port).err


def test_results_are_listed(run: Run, store: Server) -> None:
    ran = run("results", "--study", "1.2.3", "-p", store.port)
    assert (ran.status, ran.out) == (0, "no results\n")
    assert "deterministic=True" in ran.err
    assert json.loads(run("results", "--study", "1.2.3", "-p", store.port, "--json").out) == []
    assert run("results", "--since", "yesterday", "-p", store.port).status == 1


def test_a_bundle_is_pushed_and_pulled(run: Run, store: Server, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.bin").write_bytes(b"a" * 1000)
    pushed = run("bundle", "push", "lungs", tmp_path / "weights", "-p", store.port)
    assert (pushed.status, pushed.out) == (0, "sent    1 of 1 files, 0.0 MiB\n"), pushed.err
    pulled = run("bundle", "pull", "lungs", tmp_path / "out", "-p", store.port, "--json")
    assert json.loads(pulled.out)["moved"] == ["a.bin"]
    assert (tmp_path / "out" / "a.bin").read_bytes() == b"a" * 1000


def test_a_terminal_sees_a_bar(store: Server, slices: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "gateway", "upload", "-i", slices, "-p", store.port]
    seen = seen_by_a_terminal(words, XDG_CACHE_HOME=str(tmp_path))
    assert "hashing" in seen and "sending" in seen


# ---- failures: one line, a status ----

VERBS = {
    "upload": ("upload", "-i", "STUDY"),
    "results": ("results",),
    "preflight": ("preflight", "-i", "STUDY"),
    "push": ("bundle", "push", "b", "STUDY"),
    "pull": ("bundle", "pull", "b", "OUT"),
    "send": ("send", "--store", "-i", "STUDY", "-o", "OUT"),
}


def failed(run: Run, verb: str, slices: Path, tmp_path: Path, *words: object, status: int = 1) -> str:
    given = [{"STUDY": slices, "OUT": tmp_path / "out"}.get(word, word) for word in VERBS[verb]]
    ran = run(*given, *words)
    assert ran.status == status, ran
    assert ran.out == ""
    assert ran.err.startswith("error: "), ran.err
    assert ran.err.count("\n") == 1
    return ran.err


@pytest.mark.parametrize("verb", VERBS)
def test_without_a_server_the_status_is_3(run: Run, slices: Path, tmp_path: Path, verb: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert f"Cannot connect to 127.0.0.1:{port}" in failed(run, verb, slices, tmp_path, "-p", port, status=3)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.slow
def test_a_slow_server_times_out(run: Run, slices: Path, tmp_path: Path, verb: str) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port = deaf.getsockname()[1]
        assert "no answer in time" in failed(run, verb, slices, tmp_path, "-p", port, "--timeout", 1)


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_token_is_a_line(
    run: Run, slices: Path, tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", "guessed")
    refusing = Store(lambda r: problem(401, detail=f"Not {r.headers['Authorization'][:6]}.", request_id="r-1"))
    with listening(refusing) as url:
        line = failed(run, verb, slices, tmp_path, "--host", url)
    assert line.startswith("error: Not Bearer. (status 401) [request r-1] Give a key in ")


@pytest.mark.parametrize("verb", ["upload", "push", "send"])
def test_a_full_disk_is_a_line(run: Run, slices: Path, tmp_path: Path, verb: str) -> None:
    full = Store(lambda r: None if "manifest" in r.path else problem(507, detail="No room for this."))
    with listening(full) as url:
        assert "No room for this. (status 507)" in failed(run, verb, slices, tmp_path, "--host", url)


def test_a_token_may_be_read_from_a_file(run: Run, slices: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    heard = Store()
    with listening(heard) as url:
        assert run("upload", "-i", slices, "--host", url, "--token-file", tmp_path / "token").status == 0
    assert {request.headers["Authorization"] for request in heard.heard} == {"Bearer from-a-file"}
    absent = tmp_path / "absent"
    assert str(absent) in run("upload", "-i", slices, "--token-file", absent).err


@pytest.mark.parametrize(
    "words",
    [
        ["upload"],
        ["upload", "-i", "x", "--on-conflict", "overwrite"],
        ["upload", "-i", "x", "--parallel", "0"],
        ["bundle", "steal", "b", "x"],
        ["preflight"],
        ["preflight", "-i", "x", "--study", "1.2"],
        ["results", "--limit", "none"],
    ],
)
def test_wrong_usage_ends_with_status_2(run: Run, words: list[str]) -> None:
    assert run(*words).status == 2
