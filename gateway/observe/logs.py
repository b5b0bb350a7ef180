"""Logging without patient data: tagged lines, exceptions by their frames, warnings by their category and place."""

import contextlib
import json
import logging
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from gateway.errors import GatewayError

QUOTING = ("pydicom", "pynetdicom", "highdicom", "asyncio", "urllib3")
"""Packages whose log records quote an exception, values of a dataset, or the URL of a query for a patient's name."""

logger = logging.getLogger("gateway")

TAGS, MESSAGE = "gateway_tags", "gateway_message"
"""Attributes of a record that have its tags and its message separately, for handlers that do not print text."""

MAX_FRAMES = 50
"""Frames of one exception that are logged, the innermost ones; an endless recursion has a thousand."""


class TaggedLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that puts its tags before each message: ``{"a": 1} - message``, keys sorted."""

    def __init__(self, logger: "logging.Logger | TaggedLogger") -> None:
        """Wrap a logger; of another TaggedLogger the tags are copied."""
        self.tags: dict[str, Any] = dict(logger.tags) if isinstance(logger, TaggedLogger) else {}
        super().__init__(logger.logger if isinstance(logger, TaggedLogger) else logger, {})

    def add_tags(self, tags: dict[str, Any]) -> None:
        """Add tags, or replace those of the same name."""
        self.tags.update(tags)

    def tag(self, tags: dict[str, Any]) -> "TaggedLogger":
        """Return a child with more tags; this logger is unchanged."""
        child = TaggedLogger(self)
        child.add_tags(tags)
        return child

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log with the tags in front; a percent sign in a tag is no placeholder of ``args``."""
        if self.isEnabledFor(level):
            prefix = json.dumps(self.tags, sort_keys=True, default=str)
            text = f"{prefix.replace('%', '%%') if args else prefix} - {msg}"
            kwargs["extra"] = {**(kwargs.get("extra") or {}), TAGS: dict(self.tags), MESSAGE: msg}
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # the line that logs, not this one
            self.logger.log(level, text, *args, **kwargs)


def exception_frames(error: BaseException, *, with_text: bool = False) -> str:
    """Return the types and frames of an exception and its causes, the last first; texts only ``with_text``.

    The text of an exception can quote a DICOM value, such as a patient's name. A frame has a module, a line and a
    function: no value and no path of this machine.
    """
    return "\n".join(_lines(error, with_text))


def describe_error(error: Exception) -> str:
    """Return the type of an error and its private text; for one that is not the gateway's own, its frames instead."""
    private = error.private if isinstance(error, GatewayError) else f"\n{exception_frames(error)}"
    return f"{type(error).__name__} {private}"


def _lines(error: BaseException | None, with_text: bool) -> Iterator[str]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if seen:
            yield "which came from"
        seen.add(id(error))
        yield f"{type(error).__module__}.{type(error).__qualname__}{f': {error}' if with_text else ''}"
        for frame, line in deque(traceback.walk_tb(error.__traceback__), MAX_FRAMES):
            yield f"  {frame.f_globals.get('__name__', '?')}:{line} in {frame.f_code.co_qualname}"
        error = error.__context__ if error.__cause__ is None else error.__cause__


def quiet_hooks(log_exception_text: bool) -> None:
    """Log uncaught exceptions without their text: in a thread, in a destructor, at the end of a process.

    Python would print the text, and the arguments of a record that cannot be formatted. Affects the whole process; does
    nothing where texts may be logged.
    """
    if log_exception_text:
        return
    setattr(logging.Handler, "handleError", _log_unformatted)  # noqa: B010 - mypy takes it for a method of ours
    threading.excepthook = lambda args: _log_uncaught(args.exc_value, "ended a thread")
    sys.unraisablehook = lambda args: _log_uncaught(args.exc_value, "could not be raised")
    sys.excepthook = lambda kind, error, trace: _log_uncaught(error, "ended the process")


def _log_uncaught(error: BaseException | None, consequence: str) -> None:
    if error is not None and not isinstance(error, SystemExit):
        logger.error("an exception %s\n%s", consequence, exception_frames(error))


def _log_unformatted(_handler: logging.Handler, record: logging.LogRecord) -> None:
    """Write to standard error where a record was made that a handler could not format or write."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"a log record of {record.module}:{record.lineno} was lost: {sys.exc_info()[0]}\n")


def quiet_libraries(log_exception_text: bool) -> None:
    """Drop the texts of warnings and the values that pydicom logs. Does nothing where texts may be logged.

    Affects the whole process, whatever loggers are configured before or after. Repeated calls do nothing.
    """
    if log_exception_text:
        return
    if not isinstance(make := logging.getLogRecordFactory(), _CategoryOnlyRecords):
        logging.setLogRecordFactory(_CategoryOnlyRecords(make))
    if not isinstance(warnings.formatwarning, _CategoryOnlyWarnings):
        warnings.formatwarning = _CategoryOnlyWarnings(warnings.formatwarning)


class _CategoryOnlyRecords:
    """A factory of log records with the place where pydicom logged them and without their text."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, name: Any, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(name, *args, **kwargs)
        if str(name).partition(".")[0] in QUOTING:
            record.msg, record.args = f"{record.module}:{record.lineno} (text withheld)", ()
            record.exc_info = record.exc_text = None
        return record


class _CategoryOnlyWarnings:
    """Python's ``formatwarning``, without the text and without the line of code, which may contain it.

    Printing and logging format a warning; code that records warnings, such as tests, still gets the whole text.
    """

    def __init__(self, format_warning: Callable[..., str]) -> None:
        self._format = format_warning

    def __call__(
        self, message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        return self._format("(text withheld)", category, filename, lineno, "")
