"""``studies``: what arrived, what became of it, and what is tried again."""

import json
from pathlib import Path

import pytest

from gateway.studies.index import Index
from tests.cli.conftest import Run
from tests.studies import arrived

NOW = 1_700_000_000.0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_STORE_FOLDER", str(tmp_path))
    index = Index(tmp_path, "")
    with index.writing() as connection:
        arrived.every_stage(connection, NOW)
    index.close()


def test_the_list_has_a_line_for_each_round_with_its_stage(run: Run, store: None) -> None:
    lines = [line.split("\t") for line in run("studies", "list").out.splitlines()]
    assert [line[2] for line in lines] == ["arriving", "working", "untaken", "attention", "attention", "done"]
    assert lines[-1] == [
        *(arrived.study("done"), "1", "done", "140", "CT1", "2023-11-14T20:13:20Z"),
        *("lungs done", "pacs delivered"),
    ]
    chosen = run("studies", "list", "--stage", "attention", "--limit", "1", "--json").out
    (words,) = json.loads(chosen)
    assert words["study_instance_uid"] == arrived.study("failed")
    assert {rule["rule"]: rule["state"] for rule in words["rules"]} == {"lungs": "failed", "nodules": "refused"}


def test_a_study_is_shown_with_what_was_said_and_where_it_went(run: Run, store: None) -> None:
    shown = run("studies", "show", arrived.study("dead")).out
    for words in (
        "140 from CT1",
        "lungs done",
        "pacs delivered",
        "archive dead, 1 try",
        "does not accept the class or the transfer syntax",
    ):
        assert words in shown
    assert f"brain did not take it: {arrived.NOT_TAKEN}" in run("studies", "show", arrived.study("untaken")).out
    assert arrived.REFUSED in run("studies", "show", arrived.study("failed")).out
    (words,) = json.loads(run("studies", "show", arrived.study("untaken"), "--json").out)
    assert words["rounds"][0]["not_taken"].keys() == {"lungs", "brain"}
    assert run("studies", "show", "1.2.3").status == 1


def test_what_waits_for_a_person_is_tried_again(run: Run, store: None) -> None:
    assert "1 rule, 0 deliveries" in run("studies", "retry", arrived.study("failed")).out
    assert run("studies", "retry", arrived.study("failed")).status == 1
    assert "1 rule, 0 deliveries" in run("studies", "retry", arrived.study("failed"), "--rule", "nodules").out
    assert "0 rules, 1 delivery" in run("studies", "retry", "--all").out
    assert run("studies", "list", "--stage", "attention").out == ""


def test_wrong_usage_is_told(run: Run, store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["retry"], ["retry", "1.2.3", "--all"], ["retry", "--all", "--rule", "lungs"]):
        assert run("studies", *words).status == 2
    monkeypatch.delenv("GATEWAY_STORE_FOLDER")
    assert "GATEWAY_STORE_FOLDER" in run("studies", "list").err
