"""Settings are read from the environment, keyword arguments override it, and invalid ones are named."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gateway import Settings


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
