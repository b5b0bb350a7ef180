"""Log lines as JSON: one object a line, tags among its members, nothing that breaks a line or quotes an exception."""

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Settings
from gateway.dicom.samples import phantom
from gateway.observe.jsonlogs import OWN, configure
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
    assert ran.stderr.endswith("[INFO] a b\n")
    assert ran.stderr.count("\n") == 1
