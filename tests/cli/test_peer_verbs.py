"""``peers``: the file listed, a peer asked, searched, fetched from and sent to."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.peers.scripted import Asked, ScriptedPeer, archive, response, scripted, study
from tests.peers.test_web_peer import report
from tests.studies.files import files

STUDY = files(2)
UID = STUDY[0].entry.study_instance_uid


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterable[ScriptedPeer]:
    with scripted(archive(*STUDY)) as running:
        file = tmp_path / "peers.toml"
        file.write_text(
            f'[peers.pacs]\ndicomweb = "http://127.0.0.1:{running.port}"\nuser = "me"\npassword = "hush"\n'
            f'dimse = {{host = "pacs", port = 104, aet = "PACS"}}\n'
        )
        file.chmod(0o600)
        monkeypatch.setenv("GATEWAY_PEERS", str(file))
        yield running


def test_peers_are_listed_without_their_secrets(run: Run, peer: ScriptedPeer) -> None:
    (words,) = json.loads(run("peers", "list", "--json").out)
    assert words == {
        "name": "pacs",
        "dicomweb": f"http://127.0.0.1:{peer.port}",
        "credentials": "basic",
        "dimse": "PACS at pacs:104",
        "callers": "none",
    }
    assert run("peers", "list").out == "\t".join(words.values()) + "\n"


def test_a_peer_is_asked_whether_it_answers(run: Run, peer: ScriptedPeer) -> None:
    peer.answer = lambda _: response(204)
    assert run("peers", "echo").out == "ok      pacs\n"
    peer.answer = lambda _: response(401)
    refused = run("peers", "echo", "pacs")
    assert refused.status == 1
    assert "credentials" in refused.out
    assert "hush" not in refused.out + refused.err


def test_matches_are_a_table_or_json(run: Run, peer: ScriptedPeer) -> None:
    match = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "00080061": {"vr": "CS", "Value": ["CT", "SEG"]}}
    peer.answer = lambda asked: response(200, json.dumps([] if "offset" in asked.target else [match]).encode())
    found = run("peers", "find", "pacs", "PatientID=4711")
    assert found.out == "1.2\t\t\tCT\\SEG\t\t\n"
    assert "PatientID=4711" in peer.asked[0].target
    assert json.loads(run("peers", "find", "pacs", "--json").out) == [match]


def test_a_study_is_fetched_into_a_folder_as_a_whole(run: Run, peer: ScriptedPeer, tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    assert run("peers", "fetch", "pacs", UID, "-o", folder).status == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{one.entry.sop_instance_uid}.dcm": one.data for one in STUDY
    }
    assert run("peers", "fetch", "pacs", UID, "-o", folder).status == 2  # it has files
    other = tmp_path / "other"
    for body in (study(STUDY[0].data, b"no DICOM"), study(STUDY[0].data, files(1, study="other")[0].data)):
        peer.answer = lambda _, body=body: response(200, body, 'multipart/related; boundary="b0undary"')
        assert run("peers", "fetch", "pacs", UID, "-o", other).status == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct", "peers.toml"]


def test_files_are_sent_and_what_is_refused_fails(run: Run, peer: ScriptedPeer, tmp_path: Path) -> None:
    uids = [one.entry.sop_instance_uid for one in STUDY]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "readme.txt").write_text("not DICOM")
    for number, one in enumerate(STUDY):
        (tmp_path / "in" / f"{number}.dcm").write_bytes(one.data)

    def answer(asked: Asked) -> Iterable[bytes]:
        return response(202, report({uids[0]: None}, {uids[1]: 0x0122}))

    peer.answer = answer
    sent = run("peers", "send", "pacs", tmp_path / "in", "--json")
    assert sent.status == 1
    assert json.loads(sent.out) == {"stored": [uids[0]], "refused": [{"sop_instance_uid": uids[1], "reason": 0x0122}]}
    peer.answer = lambda _: response(200, report(dict.fromkeys(uids), {}))
    assert run("peers", "send", "pacs", tmp_path / "in").out == "stored  2 files; 1 file of another kind\n"


def test_wrong_usage_is_told_from_failure(run: Run, peer: ScriptedPeer, tmp_path: Path) -> None:
    misspelt = ["find", "pacs", "PatientNam=DOE"]
    for words in (
        ["echo", "other"],
        ["find", "pacs", "4711"],
        misspelt,
        ["send", "pacs", str(tmp_path / "peers.toml")],
    ):
        assert run("peers", *words).status == 2
    assert run("peers", "list", "--file", tmp_path / "missing").status == 2
    peer.answer = lambda _: response(404)
    assert run("peers", "fetch", "pacs", UID, "-o", tmp_path / "none").status == 1
