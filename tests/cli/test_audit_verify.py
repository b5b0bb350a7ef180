"""``audit verify`` reports in a few lines whether a chain is whole, and ends with a status for scripts."""

import json
from pathlib import Path

import pytest

from gateway.observe.audit.chain import key_path
from tests.cli.conftest import Run
from tests.observe.chains import KEY, heads, lines, written


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY_AUDIT_KEY_FILE", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A chain of five records, its key beside it."""
    made = tmp_path / "audit.jsonl"
    written(made, 5)
    key_path(made).write_text(KEY.hex())
    return made


def test_a_whole_chain_ends_in_success_and_prints_the_head_to_note(run: Run, file: Path) -> None:
    done = run("audit", "verify", file)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == ["records 5", f"head    {list(heads(file))[-1]}", "verdict whole"]


def test_a_broken_chain_names_its_faults_and_ends_in_failure(run: Run, file: Path) -> None:
    file.write_bytes(b"".join(lines(file)[:2] + lines(file)[3:]))
    done = run("audit", "verify", file)
    assert done.status == 1
    assert "fault   line 3 is record 4, where record 3 should follow" in done.out
    assert "verdict BROKEN" in done.out


def test_a_script_gets_the_same_as_json(run: Run, file: Path) -> None:
    head = list(heads(file))[-1]
    told = json.loads(run("audit", "verify", file, "--json").out)
    assert told == {"whole": True, "records": 5, "head": str(head), "notes": [], "faults": []}
    file.write_bytes(b"".join(lines(file)[:2] + lines(file)[3:]))
    done = run("audit", "verify", file, "--json")
    assert (done.status, json.loads(done.out)["whole"]) == (1, False)
    assert json.loads(done.out)["faults"]


def test_a_head_that_was_noted_stands_in_for_the_key(run: Run, file: Path) -> None:
    noted = list(heads(file))[3]
    key_path(file).unlink()
    assert run("audit", "verify", file, "--expect", noted).status == 0
    assert run("audit", "verify", file, "--expect", f"4:{'0' * 64}").status == 1
    assert run("audit", "verify", file).status == 2


def test_the_key_is_that_of_the_option_or_of_the_environment(
    run: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_path(file).rename(tmp_path / "key")
    assert run("audit", "verify", file, "--key", tmp_path / "key").status == 0
    monkeypatch.setenv("GATEWAY_AUDIT_KEY_FILE", str(tmp_path / "key"))
    assert run("audit", "verify", file).status == 0
    (tmp_path / "key").write_text("ab" * 32)
    done = run("audit", "verify", file)
    assert done.status == 1
    assert "is not signed with this key" in done.out


def test_files_that_were_rotated_are_one_chain(run: Run, file: Path) -> None:
    first = file.with_name("audit.jsonl.1")
    file.rename(first)
    written(file, 2)
    assert run("audit", "verify", first, file).status == 0
    assert run("audit", "verify", file).status == 1
    assert run("audit", "verify", file, "--after", list(heads(first))[-1]).status == 0


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("nowhere.jsonl", "--expect", f"1:{'0' * 64}"), 1, "nowhere.jsonl: No such file"),
        (("nowhere.jsonl", "--expect", "head"), 2, "NUMBER:DIGEST"),
        (("nowhere.jsonl", "--key", "nowhere.key"), 1, "nowhere.key: No such file"),
    ],
)
def test_a_mistake_is_a_sentence(run: Run, words: tuple[str, ...], status: int, sentence: str) -> None:
    done = run("audit", "verify", *words)
    assert done.status == status
    assert sentence in done.err
