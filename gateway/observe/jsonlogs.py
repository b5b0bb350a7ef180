"""The format of log lines where the service configures none: text, or one JSON object a line."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from gateway.config import Settings
from gateway.observe.logs import MESSAGE, TAGS, exception_frames

TEXT = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
TIMES = "[%Y-%m-%d %H:%M:%S %z]"
"""gunicorn's own formats of lines and times, so that all lines of a server are alike."""
DIGEST = re.compile(r"[0-9a-f]{40,}")
"""Digests of 160 bits and more, of which text has the first digits; a request id has 32 digits and stays whole."""
DIGITS = 12
PLAIN = re.compile(r"[\w./:+-]+", re.ASCII)
"""Words that need no quotes; quoted as JSON, no other one can forge a tag or a line."""
PLAIN_TAG = re.compile(f"{PLAIN.pattern}={PLAIN.pattern}", re.ASCII)
OWN = ("time", "level", "logger", "message", "exception")
"""Members that every line has; a tag of the same name becomes ``tag.<name>``."""
STANDARD = frozenset([*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", TAGS, MESSAGE])
"""Attributes of a record that do not come from ``extra``."""
SERVER = ("gunicorn.error", "gunicorn.access")
"""gunicorn's loggers, which have handlers of their own."""
CHATTY = ("alembic", "highdicom", "pynetdicom")
"""Libraries that log each of their steps: only their warnings are logged, unless the service sets another level."""


def configure(settings: Settings) -> None:
    """Print log lines to standard error, in the form of ``settings.log_format``.

    Handlers that a service has configured stay; with ``json`` they print objects too.
    """
    for name in CHATTY:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
        root.setLevel(logging.INFO)
    elif settings.log_format == "text":
        return
    for handler in root.handlers:
        format_lines(handler, settings)


def format_lines(handler: logging.Handler, settings: Settings) -> None:
    """Have a handler print lines in the form of ``settings.log_format``."""
    handler.setFormatter((_JSON if settings.log_format == "json" else _Text)(settings))


def configure_server(settings: Settings) -> None:
    """Configure gunicorn's own lines, and those of Python's handler of last resort.

    The latter prints what is logged before a worker configures logging.
    """
    for name in SERVER if settings.log_format == "json" else SERVER[:1]:  # as text, an access line is only its message
        for handler in logging.getLogger(name).handlers:
            format_lines(handler, settings)
    if logging.lastResort is not None:
        format_lines(logging.lastResort, settings)


class _Text(logging.Formatter):
    """Time, process, level and event, then the tags; exceptions by their types and frames.

    The texts of exceptions are there where the settings allow it.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(TEXT, TIMES)
        self._with_text = settings.log_exception_text

    def format(self, record: logging.LogRecord) -> str:
        """Format the line, with frames in place of a traceback, whose last line quotes the exception."""
        record.exc_text = self._frames(record)
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - Python's own name
        """Format the event, and its tags at the end of its first line."""
        event, line_break, frames = _message(record).partition("\n")
        record.message = f"{event}{_tags(record, event)}{line_break}{frames}"
        return super().formatMessage(record)

    def _frames(self, record: logging.LogRecord) -> str | None:
        if not record.exc_info or record.exc_info[1] is None:
            return None
        return exception_frames(record.exc_info[1], with_text=self._with_text)


class _JSON(_Text):
    """Formats a record as one JSON object. Line breaks are escaped, so no text can forge a line (RFC 8259 7)."""

    def format(self, record: logging.LogRecord) -> str:
        """Format time (RFC 3339, UTC), level, logger, message, tags and ``extra``."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        extra = {name: value for name, value in vars(record).items() if name not in STANDARD}
        for name, value in (extra | getattr(record, TAGS, {})).items():
            line[f"tag.{name}" if name in OWN else str(name)] = value
        if frames := self._frames(record):
            line["exception"] = frames
        return _dumps(line)


def _tags(record: logging.LogRecord, event: str) -> str:
    """Return the tags as `` name=value``, without those whose value the event has; another package's logger too."""
    tags = {str(name): str(value) for name, value in getattr(record, TAGS, {}).items()}
    if record.name.partition(".")[0] not in ("gateway", "gunicorn"):
        tags["logger"] = record.name
    short = {name: value[:DIGITS] if DIGEST.fullmatch(value) else value for name, value in tags.items()}
    return "".join([f" {_tag(name, value)}" for name, value in short.items() if value and value not in event])


def _tag(name: str, value: str) -> str:
    tag = f"{name}={value}"
    return tag if PLAIN_TAG.fullmatch(tag) else f"{_word(name)}={_word(value)}"


def _word(text: str) -> str:
    return text if PLAIN.fullmatch(text) else json.dumps(text)


def _message(record: logging.LogRecord) -> str:
    """Return the message without the tags that precede it in text."""
    if not hasattr(record, MESSAGE):
        return record.getMessage()
    text = str(getattr(record, MESSAGE))
    return text % record.args if record.args else text


def _dumps(line: dict[str, Any]) -> str:
    try:
        return json.dumps(line, default=str, allow_nan=False)
    except (TypeError, ValueError):  # a tag that JSON cannot represent: NaN, a cycle, keys that are not text
        return json.dumps({name: str(value) for name, value in line.items()})
