"""Log lines: tags in front, frames without texts, pydicom's warnings without quoted values."""

import logging
import logging.config
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.observe.logs import MAX_FRAMES, TaggedLogger, exception_frames
from tests.conftest import ROOT

NAME = "DOE^JANE"


class Kept(logging.Handler):
    """Stores the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept() -> Iterator[Kept]:
    logger, handler = logging.getLogger("tests.observe"), Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def tagged(kept: Kept) -> TaggedLogger:
    return TaggedLogger(logging.getLogger("tests.observe"))


def test_a_line_is_its_tags_with_sorted_keys_and_its_message(tagged: TaggedLogger, kept: Kept) -> None:
    tagged.add_tags({"b": 2, "a": 1})
    tagged.info("message")
    assert kept.lines == ['{"a": 1, "b": 2} - message']


def test_a_line_without_tags_begins_with_the_message(tagged: TaggedLogger, kept: Kept) -> None:
    tagged.info("message")
    assert kept.lines == ["{} - message"]


def test_the_tags_are_an_attribute_that_can_be_read_and_written(tagged: TaggedLogger, kept: Kept) -> None:
    tagged.add_tags({"a": 1})
    tagged.tags["b"] = 2
    assert tagged.tags == {"a": 1, "b": 2}
    tagged.warning("message")
    assert kept.lines == ['{"a": 1, "b": 2} - message']


def test_a_child_has_the_tags_of_its_parent_and_does_not_change_them(tagged: TaggedLogger, kept: Kept) -> None:
    tagged.add_tags({"a": 1})
    child = tagged.tag({"a": 9, "b": 2})
    tagged.info("parent")
    child.info("child")
    assert kept.lines == ['{"a": 1} - parent', '{"a": 9, "b": 2} - child']


def test_wrapping_a_tagged_logger_copies_its_tags_once(tagged: TaggedLogger, kept: Kept) -> None:
    tagged.add_tags({"a": 1})
    copy = TaggedLogger(tagged)
    tagged.add_tags({"later": 1})
    copy.info("message")
    assert kept.lines == ['{"a": 1} - message']


@given(tag=st.text(), word=st.text())
@settings(deadline=None)
def test_percent_signs_in_tags_and_arguments_are_plain_text(tag: str, word: str) -> None:
    logger, handler = logging.Logger("alone"), Kept()
    logger.addHandler(handler)
    tagged = TaggedLogger(logger)
    tagged.tags[f"%s {tag}"] = f"100 % of %d {tag}"
    tagged.info("%s of %d", word, 3)
    tagged.info("50 % done")
    tagged.info("%(name)s", {"name": word})
    prefixes, messages = zip(*(line.rsplit("} - ", 1) for line in handler.lines if "} - " not in word), strict=True)
    if "} - " not in word:
        assert messages == (f"{word} of 3", "50 % done", word)
        assert len(set(prefixes)) == 1
        assert "100 % of %d" in prefixes[0]


def test_a_line_break_in_a_tag_starts_no_line(tagged: TaggedLogger, kept: Kept) -> None:
    tagged.add_tags({"route": "/x\n[ERROR] forged"})
    tagged.info("message")
    assert "\n" not in kept.lines[0]


def test_a_tag_of_any_type_is_logged_as_text(tagged: TaggedLogger, kept: Kept) -> None:
    tagged.add_tags({"path": Path("a") / "b"})
    tagged.info("message")
    assert kept.lines == ['{"path": "a/b"} - message']


def test_a_record_names_the_line_that_logged_it(tagged: TaggedLogger, kept: Kept) -> None:
    def helper() -> None:
        tagged.info("from the caller of the helper", stacklevel=2)

    tagged.info("from here")
    tagged.log(logging.INFO, "from here too")
    helper()
    assert {(record.funcName, record.filename) for record in kept.records} == {
        ("test_a_record_names_the_line_that_logged_it", "test_logs.py")
    }


def test_an_exception_is_logged_with_its_traceback_and_extra_members_arrive(tagged: TaggedLogger, kept: Kept) -> None:
    try:
        raise ValueError("text")
    except ValueError:
        tagged.exception("failed", extra={"member": 7})
    (record,) = kept.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError
    assert vars(record)["member"] == 7
    assert record.levelno == logging.ERROR


def test_nothing_is_formatted_below_the_level(tagged: TaggedLogger, kept: Kept) -> None:
    class Loud:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    logging.getLogger("tests.observe").setLevel(logging.INFO)
    tagged.tags["loud"] = Loud()
    tagged.debug("unseen")
    assert kept.lines == []


def fails(value: str) -> None:
    secret = value
    raise ValueError(f"bad value {secret}")


def caught(value: str) -> BaseException:
    try:
        try:
            fails(value)
        except ValueError as error:
            raise KeyError(value) from error
    except KeyError as error:
        return error
    raise AssertionError


def test_frames_have_types_and_places_but_no_text_and_no_path() -> None:
    text = exception_frames(caught(NAME))
    assert NAME not in text
    assert str(ROOT) not in text
    assert ".py" not in text
    lines = text.splitlines()
    assert lines[0] == "builtins.KeyError"
    assert lines[1].startswith(f"  {__name__}:")
    assert lines[1].endswith(" in caught")
    assert lines[2:4] == ["which came from", "builtins.ValueError"]
    assert lines[-1].endswith(" in fails")


def test_texts_are_there_where_requested() -> None:
    text = exception_frames(caught(NAME), with_text=True)
    assert f"builtins.KeyError: '{NAME}'" in text
    assert f"builtins.ValueError: bad value {NAME}" in text


def test_an_exception_while_another_was_handled_is_logged_too() -> None:
    try:
        try:
            fails(NAME)
        except ValueError:
            [][1]
    except IndexError as error:
        text = exception_frames(error)
    assert text.index("IndexError") < text.index("ValueError")


def test_exceptions_that_cause_each_other_are_logged_once() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert exception_frames(one).splitlines() == ["builtins.ValueError", "which came from", "builtins.KeyError"]


def test_an_endless_recursion_is_logged_by_its_last_frames() -> None:
    def again() -> None:
        again()

    with pytest.raises(RecursionError) as failure:
        again()
    lines = exception_frames(failure.value).splitlines()
    assert len(lines) == 1 + MAX_FRAMES
    assert lines[-1].endswith("again")


QUIET = """
import logging, sys, warnings
import pydicom
from gateway.observe.logs import quiet_libraries

{before}
quiet_libraries({with_text})
quiet_libraries({with_text})
{after}
dataset = pydicom.Dataset()
dataset.StudyInstanceUID = "DOE^JANE"
logging.getLogger("pydicom").error("logged %s", "DOE^JANE")
logging.getLogger("pydicom.pixels.decoders.base").error("logged %s", "DOE^JANE")
logging.getLogger("highdicom.base").error("logged %s", "DOE^JANE")
try:
    raise ValueError("DOE^JANE")
except ValueError:
    logging.getLogger("pydicom").exception("failed")
logging.getLogger("service").error("own words")
warnings.warn("own warning")
"""
BASIC = "logging.basicConfig(stream=sys.stderr)"
CONFIG = """
import logging.config, pathlib, yaml
logging.config.dictConfig(yaml.safe_load(pathlib.Path("logging.yaml").read_text()))
"""
SETUPS = {
    "no logging": ("", ""),
    "logging set up before": (BASIC, ""),
    "logging set up after": ("", BASIC),
    "logging.yaml before": (CONFIG, ""),
    "logging.yaml after": ("", CONFIG),
    "warnings captured before": (BASIC + "\nlogging.captureWarnings(True)", ""),
    "warnings captured after": ("", BASIC + "\nlogging.captureWarnings(True)"),
}


def said(with_text: bool, setup: str) -> str:
    before, after = SETUPS[setup]
    program = QUIET.format(before=before, after=after, with_text=with_text)
    command = [sys.executable, "-W", "always", "-c", program]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("setup", SETUPS)
def test_a_warning_of_pydicom_has_its_category_but_no_quoted_value(setup: str) -> None:
    """A name is no UID, and pydicom's warning quotes it."""
    text = said(False, setup)
    assert NAME not in text
    assert "UserWarning: (text withheld)" in text
    assert "own warning" not in text
    assert "own words" in text


def test_a_record_of_pydicom_has_its_level_and_place() -> None:
    text = said(False, "logging set up before")
    assert text.count("ERROR:pydicom:<string>:") == 2
    assert "ERROR:pydicom.pixels.decoders.base:<string>:" in text
    assert "ERROR:highdicom.base:<string>:" in text


def test_texts_stay_where_the_settings_allow_them() -> None:
    assert said(True, "logging set up before").count(NAME) == 6


def test_quietness_is_set_up_once_and_leaves_recorded_warnings_whole() -> None:
    import warnings

    from gateway.observe.logs import quiet_libraries

    def state() -> tuple[Any, Any]:
        return logging.getLogRecordFactory(), warnings.formatwarning

    before = state()
    try:
        quiet_libraries(False)
        once = state()
        quiet_libraries(False)
        assert state() == once
        with pytest.warns(UserWarning, match=re.escape(NAME)):
            warnings.warn_explicit(NAME, UserWarning, "/site-packages/pydicom/valuerep.py", 1)
    finally:
        logging.setLogRecordFactory(before[0])
        warnings.formatwarning = before[1]


def test_logging_yaml_is_loaded_and_prints_lines_of_info_on_standard_output() -> None:
    program = CONFIG + (
        "log = logging.getLogger('gateway')\nlog.info('answered')\nlog.debug('unseen')\n"
        "logging.getLogger('pydicom').info('unseen')\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.count("\n") == 1
    assert ran.stdout.endswith("] [INFO] gateway answered\n")


def test_logging_yaml_disables_no_logger_that_is_there_already() -> None:
    assert yaml.safe_load((ROOT / "logging.yaml").read_text())["disable_existing_loggers"] is False
