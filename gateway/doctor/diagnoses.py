"""Diagnoses: a subject, a level, one sentence, and a remedy."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The gravity of a diagnosis, in order."""

    OK = "ok"
    """No fault."""
    NOTE = "note"
    """Information; no action is needed."""
    WARN = "warn"
    """The server starts, but some requests will be refused, cut off or slow."""
    FAIL = "fail"
    """The server would not start, or would not work as configured."""


@dataclass(frozen=True)
class Diagnosis:
    """The result of one check. ``text`` and ``remedy`` have no secret and no value of an unknown variable."""

    name: str
    level: Level
    text: str
    remedy: str = ""


def stopping(findings: Iterable[Diagnosis]) -> list[str]:
    """Return the names of the failed checks."""
    return [finding.name for finding in findings if finding.level == Level.FAIL]


def verdict(findings: Iterable[Diagnosis]) -> Level:
    """Return the most severe level."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)


def in_words(count: int) -> str:
    """Format bytes with a readable unit: ``8 GiB``, ``62.5 MiB``."""
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{round(size, 1):g} {unit}"
