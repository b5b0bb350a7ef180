"""One line for a value in a notebook, a traceback or a log: sizes in place of contents, which may be a patient's."""

from collections.abc import Iterator, Sized
from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import Any

LONGEST = 160
"""Characters of one line; a terminal shows it whole."""
LONGEST_TEXT = 40
"""Characters of a model's own text, such as a label."""


class Brief:
    """A dataclass with a short ``repr``: numbers and sizes of its fields, and the texts that ``_shown`` names.

    A field that holds nothing is left out, and so is one with ``repr=False``.
    """

    __slots__ = ()
    _shown: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return line_of(type(self).__name__, *self._facts())

    def _facts(self) -> Iterator[str]:
        for each in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, each.name)
            if each.repr and (fact := _fact(value, each.name in self._shown)):
                yield f"{each.name}={fact}"


def line_of(name: str, *facts: str) -> str:
    """Return ``<name fact, fact>``, cut to ``LONGEST`` characters."""
    line = f"{name} {', '.join(facts)}".strip()
    return f"<{line}>" if len(line) + 2 <= LONGEST else f"<{line[: LONGEST - 5]}...>"


def _fact(value: Any, shown: bool) -> str:
    """Return a number as it is, a text only where ``shown``, of all else the size or the class; "" for nothing."""
    if value is None or (isinstance(value, Sized) and not hasattr(value, "dtype") and not len(value)):
        return ""
    if isinstance(value, bool | int | float):
        return f"{value}" if abs(value) < 1e16 else f"{float(value):g}"
    if isinstance(value, str) and (shown or isinstance(value, Enum)):
        return repr(value if len(value) <= LONGEST_TEXT else f"{value[: LONGEST_TEXT - 3]}...")
    if hasattr(value, "dtype"):
        return f"{tuple(value.shape)} {value.dtype}"
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else _size(value)


def _size(value: Any) -> str:
    if isinstance(value, str):
        return f"({len(value)} characters)"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"({memoryview(value).nbytes} bytes)"
    return f"({len(value)})" if type(value) in (dict, list, tuple) else type(value).__name__
