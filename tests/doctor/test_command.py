"""The verb itself: a table on a terminal, plain lines elsewhere, JSON on request, and its page."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from gateway.doctor import Diagnosis, Level, stopping, verdict
from gateway.doctor.diagnoses import in_words
from tests.conftest import ROOT
from tests.doctor.asking import Told, ask
from tests.house.pages import blocks, rows
from tests.waiting import PATIENCE

PAGE = ROOT / "docs/doctor.md"
NAME = re.compile(r"^(?:ok|note|warn|fail) +(\S.*?)  ", re.MULTILINE)
APPLICATION = {"application", "routes", "placement"}


@pytest.fixture(scope="module")
def told() -> Told:
    return ask("--json", "--app", "models.app:app")


def test_json_has_a_verdict_and_a_sentence_for_every_check(told: Told) -> None:
    body = json.loads(told.out)
    assert body.keys() == {"gateway", "verdict", "findings"}
    assert body["verdict"] in list(Level)
    for finding in body["findings"]:
        assert finding.keys() == {"name", "level", "text", "remedy"}
        assert finding["level"] in list(Level)
        assert finding["text"].endswith(".")
        assert finding["remedy"] or finding["level"] in ("ok", "note")
    assert len(told.findings) == len(body["findings"])


def test_the_exit_status_is_1_for_a_failed_check_only(told: Told) -> None:
    assert told.status == any(finding["level"] == "fail" for finding in told.findings.values())


def test_the_table_has_the_same_checks_in_the_same_order() -> None:
    names = NAME.findall(ask().out)
    assert names == list(ask("--json").findings)


def test_a_pipe_gets_no_colours_and_a_terminal_does() -> None:
    assert "\x1b" not in ask().out
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    for name in ("NO_COLOR", "FORCE_COLOR"):
        environ.pop(name, None)
    line = [sys.executable, "-m", "gateway", "doctor", "--port", "0"]
    process = subprocess.Popen(line, cwd=ROOT, env=environ, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # Linux's end of a terminal whose other side is closed
        pass
    os.close(ours)
    process.wait(PATIENCE)
    assert b"\x1b[32mok" in shown


def test_an_invalid_port_is_wrong_usage() -> None:
    assert ask(port="70000").status == 2


def test_the_gravest_level_is_the_verdict() -> None:
    found = [Diagnosis(level, level, "") for level in (Level.NOTE, Level.FAIL, Level.OK)]
    assert (verdict(found), stopping(found), verdict([])) == (Level.FAIL, ["fail"], Level.OK)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (8 << 30, "8 GiB"), (9 << 50, "9216 TiB")],
)
def test_bytes_are_printed_in_readable_units(count: int, words: str) -> None:
    assert in_words(count) == words


def test_the_table_of_the_page_is_that_of_the_checks(told: Told) -> None:
    documented = [name.strip("`") for name, *_ in rows(PAGE, "check")]
    made = dict.fromkeys(re.sub("^(codec|model) .*", r"\1 ...", name) for name in told.findings)
    assert documented == list(made)


def test_the_sample_of_the_page_has_every_check(told: Told) -> None:
    sample = next(block.text for block in blocks(PAGE, "console") if "doctor" in block.text)
    models = {name for name in told.findings if name.startswith("model ")}
    assert NAME.findall(sample) == [name for name in told.findings if name not in APPLICATION | models]
    assert max(map(len, sample.splitlines())) <= 100
    assert len(sample.splitlines()) <= 44
