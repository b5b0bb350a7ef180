"""Settings are read from the environment, keyword arguments override it, and invalid ones are named."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gateway import Settings
from gateway.config import place_paths


def test_each_setting_is_read_from_a_variable_of_its_name() -> None:
    environ = {
        "GATEWAY_MAX_PARTS": " 7 ",
        "GATEWAY_READ_TIMEOUT": "2.5",
        "GATEWAY_STUDY_ROOT": "/studies",
        "GATEWAY_STRICT": "no",
        "GATEWAY_DIGEST": "blake3",
        "MAX_PARTS": "8",
    }
    settings = Settings.from_environment(environ)
    assert (settings.max_parts, settings.read_timeout, settings.study_root) == (7, 2.5, Path("/studies"))
    assert (settings.strict, settings.digest) == (False, "blake3")


def test_without_variables_settings_are_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_MAX_PARTS", "11")
    assert Settings.from_environment().max_parts == 11


def test_a_lease_is_longer_than_the_time_between_two_looks() -> None:
    with pytest.raises(ValueError, match=r"run_lease \(GATEWAY_RUN_LEASE\) should be at least 2 seconds, such as 30.0"):
        Settings(run_lease=1.0)


def test_a_keyword_argument_wins_even_over_a_variable_that_is_wrong() -> None:
    assert Settings.from_environment({"GATEWAY_MAX_PARTS": "many"}, max_parts=3).max_parts == 3


@pytest.mark.parametrize("word", ["1", "true", "YES", " on "])
def test_a_switch_accepts_each_usual_word_for_on(word: str) -> None:
    assert Settings.from_environment({"GATEWAY_LOG_EXCEPTION_TEXT": word}).log_exception_text is True


@pytest.mark.parametrize("word", ["0", "false", "No", "off"])
def test_a_switch_accepts_each_usual_word_for_off(word: str) -> None:
    assert Settings.from_environment({"GATEWAY_STRICT": word}).strict is False


def test_an_empty_folder_is_no_folder() -> None:
    assert Settings.from_environment({"GATEWAY_STUDY_ROOT": ""}).study_root is None


BAD = {
    "MAX_PARTS": ["many", "", "1.5", "-1"],
    "STRICT": ["perhaps", "", "2"],
    "READ_TIMEOUT": ["soon", "nan", "inf", "0", "-1"],
    "MIN_RATE": ["16 KiB", "-16"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_a_bad_variable_is_named_with_what_it_should_be(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{name.lower()} .GATEWAY_{name}. should be .*, such as ") as refusal:
        Settings.from_environment({f"GATEWAY_{name}": text})
    assert "class" not in str(refusal.value)


@pytest.mark.parametrize("wrong", [{"max_parts": -1}, {"head_timeout": 0.0}, {"rate_grace": float("nan")}])
def test_a_keyword_argument_that_is_no_limit_is_refused_too(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


def test_settings_do_not_change_once_made() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().max_parts = 3


def test_each_setting_has_a_reason() -> None:
    assert [f.name for f in dataclasses.fields(Settings) if len(f.metadata.get("why", "")) < 20] == []


def test_relative_paths_are_those_of_the_folder_at_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    relative = {"study_root": Path("a"), "spool_folder": Path("b"), "store_folder": Path("c")}
    relative |= {"api_keys_file": Path("d"), "audit_file": Path("e"), "audit_key_file": Path("f")}
    settings = Settings(**relative, jwt_jwks="keys.json", database_url="sqlite:///index.db?timeout=3")
    assert {name: getattr(settings, name) for name in relative} == {k: tmp_path / v for k, v in relative.items()}
    assert settings.jwt_jwks == str(tmp_path / "keys.json")
    assert settings.database_url == f"sqlite:///{tmp_path}/index.db?timeout=3"


@pytest.mark.parametrize(
    "url",
    ["", "sqlite://", "sqlite:///:memory:", "sqlite:////index.db", "sqlite:///file:x?uri=true", "postgresql://h/n"],
)
def test_urls_that_name_no_relative_file_stay(url: str) -> None:
    assert Settings(database_url=url, audit_sql=url).database_url == url


def test_paths_in_the_environment_are_made_absolute_and_the_rest_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {"GATEWAY_STUDY_ROOT": "studies", "GATEWAY_MAX_PARTS": "3", "GATEWAY_AUDIT_FILE": "", "HOME": "x"}
    place_paths(environment)
    assert environment == {**environment, "GATEWAY_STUDY_ROOT": str(tmp_path / "studies"), "GATEWAY_MAX_PARTS": "3"}
    assert environment["GATEWAY_AUDIT_FILE"] == ""
