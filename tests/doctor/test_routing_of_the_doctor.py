"""The doctor reads the file of rules, alone and with the models that it names."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway import Settings
from gateway.doctor.diagnoses import Level
from gateway.doctor.routing_checks import routing, sources
from tests.apps.routed import app

RULES = '[rules.lungs]\ntitles = ["CT*"]\nmodel = "/lungs"\n'
TITLES = '[ae.{}]\naddress = ["127.0.0.1"]\ncaller = "ct"\nmay = {}\n'


def settings(folder: Path, rules: str, titles: str = "") -> Settings:
    (folder / "rules.toml").write_text(rules)
    (folder / "titles.toml").write_text(titles)
    return Settings(
        routing=folder / "rules.toml",
        store_folder=folder / "store",
        dimse_titles_file=folder / "titles.toml" if titles else None,
    )


def test_a_sound_file_is_fine_and_a_fault_stops_the_start(tmp_path: Path) -> None:
    assert routing(settings(tmp_path, RULES), app.service.models).level is Level.OK
    own = settings(tmp_path, RULES.replace("/lungs", "/lung"))
    assert routing(own).level is Level.OK  # without the application nobody knows
    assert routing(own, app.service.models).level is Level.FAIL
    assert routing(settings(tmp_path, RULES + 'destinations = ["pacs"]\n')).level is Level.FAIL


def test_rules_need_a_store_and_a_file_that_not_everybody_writes(tmp_path: Path) -> None:
    own = settings(tmp_path, RULES)
    assert "GATEWAY_STORE_FOLDER" in routing(Settings(routing=own.routing)).text
    (tmp_path / "rules.toml").chmod(0o666)
    assert "chmod 644" in routing(own).text


@pytest.mark.parametrize(
    ("titles", "level"),
    [
        (TITLES.format("CT1", '["store"]'), Level.OK),
        (TITLES.format("MR1", '["store"]'), Level.WARN),
        (TITLES.format("CT1", '["find"]'), Level.WARN),
        ("no TOML", Level.OK),
    ],
)
def test_a_title_of_a_rule_is_one_that_may_store(tmp_path: Path, titles: str, level: Level) -> None:
    assert routing(settings(tmp_path, RULES, titles)).level is level


@pytest.mark.parametrize(
    ("titles", "level", "text"),
    [
        ("", Level.OK, "Off"),
        (TITLES.format("CT1", '["store"]'), Level.OK, "May store: CT1 for ct. Asked as peers: CT1 as scanner."),
        (TITLES.format("MR1", '["store"]'), Level.OK, "Asked as peers: none."),
        (TITLES.format("CT1", '["find"]'), Level.WARN, "No AE title"),
        ("no TOML", Level.FAIL, "is not TOML"),
    ],
)
def test_the_sources_are_named_with_the_peers_that_they_are(
    tmp_path: Path, titles: str, level: Level, text: str
) -> None:
    (tmp_path / "peers.toml").write_text('[peers.scanner]\ndimse = {host = "127.0.0.1", port = 104, aet = "CT1"}\n')
    found = sources(replace(settings(tmp_path, RULES, titles), peers=tmp_path / "peers.toml"))
    assert found.level is level
    assert text in found.text
