"""Log lines as JSON: one object a line, tags among its members, nothing that breaks a line or quotes an exception."""

import json
import logging
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Settings
from gateway.dicom.samples import phantom
from gateway.observe.jsonlogs import CHATTY, OWN, configure
from gateway.observe.logs import TaggedLogger
from tests.conftest import ROOT, Serve
from tests.waiting import PATIENCE

NAME = "DOE^JANE"
JSON_LINES = Settings(log_format="json")
BODY = b"--b\r\n\r\n{}\r\n--b\r\n\r\nDICM\r\n--b--\r\n"


class Lines(logging.Handler):
    """Stores the lines that it would print."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line, parse_constant=lambda word: pytest.fail(word)) for line in self.lines]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """The output of the root logger in JSON."""
    handler = Lines()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    configure(JSON_LINES)
    return handler


@pytest.fixture
def tagged(printed: Lines) -> TaggedLogger:
    logger = logging.getLogger("tests.jsonlogs")
    logger.setLevel(logging.DEBUG)
    return TaggedLogger(logger)


def test_a_line_has_time_level_logger_message_and_the_tags(tagged: TaggedLogger, printed: Lines) -> None:
    tagged.add_tags({"request_id": "5f2b", "route": "/lungs"})
    tagged.warning("answered in %.1f s", 1.25)
    (line,) = printed.objects()
    assert abs((datetime.fromisoformat(line.pop("time")) - datetime.now(UTC)).total_seconds()) < 60
    assert line == {
        "level": "WARNING",
        "logger": "tests.jsonlogs",
        "message": "answered in 1.2 s",
        "request_id": "5f2b",
        "route": "/lungs",
    }


def test_a_plain_logger_prints_objects_too_and_its_extra_members(printed: Lines) -> None:
    logging.getLogger("tests.plain").warning("%d of %d", 2, 3, extra={"member": 7})
    (line,) = printed.objects()
    assert line["message"] == "2 of 3"
    assert line["member"] == 7


@pytest.mark.parametrize("own", OWN)
def test_a_tag_replaces_no_member_of_a_line(tagged: TaggedLogger, printed: Lines, own: str) -> None:
    tagged.add_tags({own: "forged"})
    tagged.info("message")
    (line,) = printed.objects()
    assert line.get(own) != "forged"
    assert line[f"tag.{own}"] == "forged"


@given(
    message=st.text(),
    tags=st.dictionaries(
        st.text(), st.recursive(st.none() | st.floats() | st.text(), lambda below: st.lists(below) | st.tuples(below))
    ),
)
def test_whatever_is_logged_is_one_object_on_one_line(message: str, tags: dict[str, Any]) -> None:
    logger, handler = logging.Logger("alone"), Lines()
    logger.addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [handler])
        configure(JSON_LINES)
    TaggedLogger(logger).tag(tags).info(message)
    (line,) = handler.lines
    assert line.splitlines() == [line]
    (found,) = handler.objects()
    assert found["message"] == message
    assert {name if name not in OWN else f"tag.{name}" for name in tags} <= found.keys()


def test_a_value_that_json_cannot_represent_is_printed_as_text(printed: Lines) -> None:
    loop: list[Any] = []
    loop.append(loop)
    logging.getLogger("tests.plain").warning("a", extra={"loop": loop, "seconds": float("nan"), "pair": {(1, 2): 3}})
    (line,) = printed.objects()
    assert (line["seconds"], line["pair"], line["message"]) == ("nan", "{(1, 2): 3}", "a")


def test_percent_signs_and_objects_are_printed_as_text_prints_them(tagged: TaggedLogger, printed: Lines) -> None:
    tagged.add_tags({"a": "100 %"})
    tagged.info("50 % done")
    tagged.info("%(name)s", {"name": "x"})
    tagged.info({"an": "object"})
    assert [line["message"] for line in printed.objects()] == ["50 % done", "x", "{'an': 'object'}"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_printed_without_its_text_unless_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    for allowed in (False, True):
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        configure(Settings(log_format=form, log_exception_text=allowed))
        try:
            raise ValueError(NAME)
        except ValueError:
            logging.getLogger("tests.jsonlogs").exception("failed")
        printed = capsys.readouterr().err
        assert "builtins.ValueError" in printed
        assert "test_jsonlogs" in printed
        assert (NAME in printed) is allowed


def test_text_leaves_a_services_own_handlers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = Lines()
    handler.setFormatter(own := logging.Formatter("%(message)s"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    configure(Settings())
    assert logging.getLogger().handlers == [handler]
    assert handler.formatter is own


def test_an_unknown_format_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"GATEWAY_LOG_FORMAT.*text or json"):
        Settings.from_environment({"GATEWAY_LOG_FORMAT": "xml"})


def test_every_line_of_a_server_is_an_object_and_a_requests_lines_share_its_id(serve: Serve) -> None:
    server = serve("tests.apps.faults:app", GATEWAY_LOG_FORMAT="json")
    headers = {"Content-Type": "multipart/related; boundary=b"}
    answers = [
        requests.post(server.url + route, BODY, headers=headers, timeout=PATIENCE) for route in ("/echo", "/raises")
    ]
    server.stop()
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    answered = next(line for line in lines if line["message"].startswith("answered in"))
    assert (answered["request_id"], answered["route"]) == (answers[0].headers["X-Request-ID"], "/echo")
    assert answered.keys() >= {"input_hash", "output_hash"}
    failed = [line for line in lines if line.get("request_id") == answers[1].headers["X-Request-ID"]]
    assert [line["message"].split(" ")[0] for line in failed] == ["exception", "500"]
    assert all(line["route"] == "/raises" and line["input_hash"] == answered["input_hash"] for line in failed)
    assert NAME not in server.log


def test_the_line_of_an_answer_has_the_version_of_the_model(serve: Serve, tmp_path: Path) -> None:
    server = serve("tests.apps.typed:app", GATEWAY_LOG_FORMAT="json")
    (file,) = phantom.write(tmp_path, slices=1, size=16)
    body = b"--b\r\n\r\n{}\r\n--b\r\n\r\n" + file.read_bytes() + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/related; boundary=b"}
    assert requests.post(server.url + "/dense", body, headers=headers, timeout=PATIENCE).status_code == 200
    server.stop()
    lines = [json.loads(line) for line in server.log.splitlines()]
    (answered,) = [line for line in lines if line["message"].startswith("answered in")]
    assert answered["model_version"] == "1.2.0"


def test_configuring_prints_text_where_nothing_is_configured() -> None:
    script = (
        "import logging; from gateway.config import Settings; from gateway.observe.jsonlogs import configure;"
        "configure(Settings()); configure(Settings()); logging.getLogger('a').info('b')"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env={}, capture_output=True, text=True, check=True)
    assert ran.stderr.endswith("[INFO] b logger=a\n")
    assert ran.stderr.count("\n") == 1


class Printed(NamedTuple):
    """A logger of the gateway, and its lines as text."""

    logger: TaggedLogger
    lines: list[str]


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> Printed:
    root, handler = logging.getLogger(), Lines()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure(Settings())
    handler.setFormatter(root.handlers[0].formatter)
    logger = logging.Logger("gateway")
    logger.addHandler(handler)
    return Printed(TaggedLogger(logger), handler.lines)


def test_text_begins_with_time_process_level_and_event_and_ends_with_short_tags(text: Printed) -> None:
    text.logger.add_tags({"route": "/lungs", "request_id": "5b0e6c1d4f7a4c2e9d1b8a3f6e5c7d90", "input_hash": "ab" * 32})
    text.logger.info("answered in %.1f s", 0.5)
    (line,) = text.lines
    start = rf"\[\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{{4}}\] \[{os.getpid()}\] \[INFO\] answered in 0.5 s "
    assert re.match(start, line)
    assert line.endswith(" route=/lungs request_id=5b0e6c1d4f7a4c2e9d1b8a3f6e5c7d90 input_hash=abababababab")


def test_a_tag_that_the_event_has_is_not_repeated_and_an_empty_one_is_left_out(text: Printed) -> None:
    text.logger.add_tags({"request_id": "5b0e", "caller": ""})
    text.logger.warning("503 unavailable [5b0e]")
    assert text.lines[0].endswith("[WARNING] 503 unavailable [5b0e]")


def test_tags_stand_before_the_frames_of_an_exception(text: Printed) -> None:
    text.logger.add_tags({"route": "/a"})
    text.logger.error("exception\n  frame")
    assert text.lines[0].endswith("exception route=/a\n  frame")


@pytest.mark.parametrize("value", ["/x\n[ERROR] forged", "a b=c", 'a"b', "\x1b[2J", "\u2028"])
def test_a_tag_in_text_forges_no_tag_and_no_line(text: Printed, value: str) -> None:
    text.logger.add_tags({"route": value, value: "name"})
    text.logger.info("event")
    (line,) = text.lines
    assert line.endswith(f" route={json.dumps(value)} {json.dumps(value)}=name")
    assert line.isprintable()


@pytest.mark.parametrize("name", CHATTY)
def test_steps_of_chatty_libraries_are_not_logged_unless_the_service_wants_them(name: str, monkeypatch) -> None:
    library = logging.getLogger(name)
    monkeypatch.setattr(library, "level", logging.NOTSET)
    configure(JSON_LINES)
    assert library.level == logging.WARNING
    library.setLevel(logging.DEBUG)
    configure(JSON_LINES)
    assert library.level == logging.DEBUG


@pytest.mark.server
def test_all_lines_of_a_server_have_one_form(serve: Serve) -> None:
    server = serve("tests.apps.faults:app")
    requests.post(server.url + "/raises", BODY, headers={"Content-Type": "text/plain"}, timeout=PATIENCE)
    server.stop()
    lines = server.log.splitlines()
    assert any("Listening at" in line for line in lines)
    assert any("415 " in line for line in lines)
    assert [line for line in lines if "Models on /echo" in line and server.url in line]
    form = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[[A-Z]+\] \S")
    assert [line for line in lines if not form.match(line)] == []
