"""Diagnoses: a subject, a level, one sentence, and a remedy."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The gravity of a diagnosis, in order."""

    OK = "ok"
    """As it should be."""
    NOTE = "note"
    """Worth knowing; nothing need be done."""
    WARN = "warn"
    """It serves, but some requests will be refused, cut off or slow."""
    FAIL = "fail"
    """It would not serve, or not what it was set up for."""


@dataclass(frozen=True)
class Diagnosis:
    """The result of one check. ``text`` and ``remedy`` hold no secret and no value of an unknown variable."""

    name: str
    level: Level
    text: str
    remedy: str = ""


def stopping(findings: Iterable[Diagnosis]) -> list[str]:
    """The names of the checks that failed."""
    return [finding.name for finding in findings if finding.level == Level.FAIL]


def verdict(findings: Iterable[Diagnosis]) -> Level:
    """The gravest level of all."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)


def in_words(count: int) -> str:
    """Bytes as a person reads them: ``8 GiB``, ``62.5 MiB``."""
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{round(size, 1):g} {unit}"
