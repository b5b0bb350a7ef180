"""``routing check``: a file of rules judged, and a study tried on it."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run

APP = "tests.apps.routed:app"
RULES = """
[rules.lungs]
titles = ["CT1"]
match = {Modality = "CT"}
model = "/lungs"
destinations = ["pacs"]

[rules.thick]
callers = ["*"]
model = "/thick"

[rules.brain]
callers = ["radiology"]
match = {Modality = "MR"}
model = "/lungs"
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    peers = tmp_path / "peers.toml"
    peers.write_text('[peers.pacs]\ndicomweb = "http://127.0.0.1:1"\n')
    peers.chmod(0o600)
    monkeypatch.setenv("GATEWAY_PEERS", str(peers))
    file = tmp_path / "rules.toml"
    file.write_text(RULES)
    return file


def test_a_sound_file_is_named_with_its_rules(run: Run, rules: Path) -> None:
    assert run("routing", "check", rules, APP).out == "ok      3 rules: lungs, thick, brain\n"


def test_each_fault_is_a_line_and_the_status_is_1(run: Run, rules: Path) -> None:
    rules.write_text(RULES.replace("/lungs", "/lung").replace('["pacs"]', '["pcas"]'))
    ran = run("routing", "check", rules, APP)
    assert (ran.status, ran.out.count("\n")) == (1, 3)
    assert "fault   rules.lungs: destinations: there is no peer 'pcas'; 'pacs' is one.\n" in ran.out
    assert len(json.loads(run("routing", "check", rules, APP, "--json").out)["faults"]) == 3


def test_each_rule_says_whether_it_takes_a_study_and_why_not(run: Run, rules: Path, study: Path) -> None:
    ran = run("routing", "check", rules, APP, "--study", study)
    lungs, thick, brain = (line.split("\t") for line in ran.out.splitlines())
    assert lungs == ["lungs", "taken", "1 of 1", "accepts", ""]
    assert thick[:4] == ["thick", "taken", "1 of 1", "refuses"]
    assert "at least 100 slices" in thick[4]
    assert brain == ["brain", "not taken", "0 of 1", "", "None of 1 series has Modality 'MR'."]
    assert ran.status == 0


def test_a_sender_is_judged_and_without_a_rule_for_it_the_status_is_1(run: Run, rules: Path, study: Path) -> None:
    assert run("routing", "check", rules, APP, "--study", study, "--ae", "CT1").status == 0
    ran = run("routing", "check", rules, APP, "--study", study, "--ae", "MR1", "--json")
    assert ran.status == 1
    assert [(one["taken"], one["accepted"]) for one in json.loads(ran.out)] == [
        (False, None), (True, False), (False, None),
    ]  # fmt: skip


def test_a_title_has_the_caller_of_its_file_and_one_that_is_not_in_it_cannot_send(
    run: Run, rules: Path, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = tmp_path / "titles.toml"
    titles.write_text(
        '[ae.CT7]\naddress = ["127.0.0.1"]\ncaller = "radiology"\nmay = ["store"]\n'
        '[ae.PROBE]\naddress = ["127.0.0.1"]\ncaller = "probe"\n'
    )
    monkeypatch.setenv("GATEWAY_DIMSE_TITLES_FILE", str(titles))
    rules.write_text(RULES.replace('"MR"', '"CT"'))
    taken = json.loads(run("routing", "check", rules, APP, "--study", study, "--ae", "CT7", "--json").out)
    assert [one["taken"] for one in taken] == [False, True, True]
    for title in ("CT8", "PROBE"):
        assert title in run("routing", "check", rules, APP, "--study", study, "--ae", title).err


def test_without_an_application_and_peers_only_the_rules_speak(
    run: Run, rules: Path, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATEWAY_PEERS")
    rules.write_text(RULES.replace("/lungs", "/elsewhere"))
    ran = run("routing", "check", rules, "--study", study)
    assert ran.status == 0
    assert ran.out.splitlines()[0].split("\t")[3] == "not asked"
    assert ran.err.count("not checked") == 2


def test_a_folder_of_several_studies_or_none_is_refused(run: Run, rules: Path, study: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert run("routing", "check", rules, APP, "--study", tmp_path / "none").status == 1
    (tmp_path / "both").mkdir()
    assert run("phantom", tmp_path / "both" / "a").status == 0
    shutil.copytree(study, tmp_path / "both" / "b")
    assert "2 studies" in run("routing", "check", rules, APP, "--study", tmp_path / "both").err
