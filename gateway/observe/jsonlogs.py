"""How log lines look where the service configures nothing: as text, or as one JSON object a line."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from gateway.config import Settings
from gateway.observe.logs import MESSAGE, TAGS, exception_frames

TEXT = "[%(asctime)s] [%(levelname)s] %(name)s %(message)s"
OWN = ("time", "level", "logger", "message", "exception")
"""Members that every line has; a tag of the same name becomes ``tag.<name>``."""
STANDARD = frozenset([*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", TAGS, MESSAGE])
"""Attributes of a record that are no caller's ``extra``."""
SERVER = ("gunicorn.error", "gunicorn.access")
"""Loggers with handlers of their own, which print beside ours."""


def configure(settings: Settings) -> None:
    """Print log lines to standard error, in the form of ``settings.log_format``.

    A service that has configured handlers keeps them; with ``json`` they print objects all the same.
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Text(settings))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
    if settings.log_format == "json":
        _print_json(root, settings)
        configure_server(settings)


def configure_server(settings: Settings) -> None:
    """The same for gunicorn's own lines, which are text unless ``settings.log_format`` is ``json``."""
    if settings.log_format == "json":
        for name in SERVER:
            _print_json(logging.getLogger(name), settings)


def _print_json(logger: logging.Logger, settings: Settings) -> None:
    for handler in logger.handlers:
        handler.setFormatter(_JSON(settings))


class _Text(logging.Formatter):
    """Python's own form, but for exceptions: types and frames, and their text where the settings allow it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(TEXT)
        self._with_text = settings.log_exception_text

    def formatException(self, ei: Any) -> str:
        """The frames in place of a traceback, whose last line quotes the exception."""
        return "" if ei[1] is None else exception_frames(ei[1], with_text=self._with_text)


class _JSON(_Text):
    """One object a line; line breaks in it are escaped, so that nobody can forge a line (RFC 8259 7)."""

    def format(self, record: logging.LogRecord) -> str:
        """Time (RFC 3339, UTC), level, logger and message, and beside them the tags and a caller's ``extra``."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        extra = {name: value for name, value in vars(record).items() if name not in STANDARD}
        for name, value in (extra | getattr(record, TAGS, {})).items():
            line[f"tag.{name}" if name in OWN else str(name)] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _dumps(line)


def _message(record: logging.LogRecord) -> str:
    """The message without the tags that stand before it in text."""
    if not hasattr(record, MESSAGE):
        return record.getMessage()
    text = str(getattr(record, MESSAGE))
    return text % record.args if record.args else text


def _dumps(line: dict[str, Any]) -> str:
    try:
        return json.dumps(line, default=str, allow_nan=False)
    except (TypeError, ValueError):  # a tag that JSON has no word for: not a number, a loop, keys that are no text
        return json.dumps({name: str(value) for name, value in line.items()})
