"""Logging without patient data: tagged lines, frames without texts, pydicom's warnings by category only."""

import json
import logging
import traceback
import warnings
from collections.abc import Iterator, MutableMapping
from typing import Any, TextIO


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
        """A child with more tags; this logger stays as it is."""
        child = TaggedLogger(self)
        child.add_tags(tags)
        return child

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log with the tags in front; a percent sign in a tag is not taken for a placeholder of ``args``."""
        if self.isEnabledFor(level):
            prefix = json.dumps(self.tags, sort_keys=True, default=str)
            text = f"{prefix.replace('%', '%%') if args else prefix} - {msg}"
            self.logger.log(level, text, *args, **{"stacklevel": 3, **kwargs})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """The message as it is logged without arguments."""
        return f"{json.dumps(self.tags, sort_keys=True, default=str)} - {msg}", kwargs


def exception_frames(error: BaseException, *, with_text: bool = False) -> str:
    """The types and frames of an exception and of those it came from, newest first; texts only ``with_text``.

    The text of an exception can quote a DICOM value, and so a patient's name; a frame cannot.
    """
    return "\n".join(_lines(error, with_text))


def _lines(error: BaseException | None, with_text: bool) -> Iterator[str]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield f"{type(error).__module__}.{type(error).__qualname__}{f': {error}' if with_text else ''}"
        for frame in traceback.extract_tb(error.__traceback__):
            yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
        error = error.__cause__ or error.__context__
        if error is not None and id(error) not in seen:
            yield "which came from"


class _CategoryOnly(logging.Filter):
    """Keeps where a record of pydicom came from and drops what it quotes."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = f"{record.module}:{record.lineno} (text withheld)", ()
        record.exc_info = record.exc_text = None
        return True


def quiet_pydicom(log_exception_text: bool) -> None:
    """Keep what pydicom warns of, but not the values it quotes. Does nothing where texts may be logged."""
    logger = logging.getLogger("pydicom")
    if log_exception_text or any(isinstance(found, _CategoryOnly) for found in logger.filters):
        return
    logger.addFilter(_CategoryOnly())
    show = warnings.showwarning

    def showwarning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        foreign = "pydicom" not in filename
        show(message if foreign else f"{category.__name__} (text withheld)", category, filename, lineno, file, line)

    warnings.showwarning = showwarning
